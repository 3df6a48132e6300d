#include "server/process_metrics.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>
#include <vector>

namespace finetune {
namespace {

double ValueOf(Metrics& metrics, const std::string& name) {
  for (const auto& family : metrics.registry()->Collect())
    if (family.name == name)
      return family.type == prometheus::MetricType::Counter ? family.metric[0].counter.value
                                                            : family.metric[0].gauge.value;
  ADD_FAILURE() << name;
  return 0;
}

double CpuSeconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

TEST(ProcessMetrics, AreRightWithoutADescriptorLeft) {
  Metrics metrics;
  ProcessMetrics process(metrics);
  process.Update();
  const double before = ValueOf(metrics, "process_open_fds");
  EXPECT_GT(before, 3);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit low = limit;
  low.rlim_cur = 256;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  std::vector<int> fds;
  for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;) fds.push_back(fd);
  process.Update();
  EXPECT_EQ(ValueOf(metrics, "process_open_fds"), before + static_cast<double>(fds.size()));
  EXPECT_GT(ValueOf(metrics, "process_resident_memory_bytes"), 1e6);
  for (const int fd : fds) close(fd);
  setrlimit(RLIMIT_NOFILE, &limit);
  process.Update();
  EXPECT_EQ(ValueOf(metrics, "process_open_fds"), before);
}

TEST(ProcessMetrics, ManyScrapesAtOnceCountTheCpuOnce) {
  Metrics metrics;
  ProcessMetrics process(metrics);
  std::vector<std::thread> scrapes;
  for (int i = 0; i < 8; ++i)
    scrapes.emplace_back([&] {
      for (int n = 0; n < 200; ++n) process.Update();
    });
  for (std::thread& scrape : scrapes) scrape.join();
  EXPECT_LE(ValueOf(metrics, "process_cpu_seconds_total"), CpuSeconds() + 1e-6);
}

}  // namespace
}  // namespace finetune
