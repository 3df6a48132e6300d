#include "tests/bench/calls.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <thread>

#include "absl/strings/str_format.h"
#include "tests/bench/histogram.h"
#include "tests/bench/process.h"
#include "tests/bench/transport.h"

namespace finetune::bench {
namespace {

// An open loop that cannot keep its schedule is no open loop: such starts are counted.
constexpr int64_t kLateNanoseconds = 5'000'000;

class Generator {
 public:
  explicit Generator(const CallsOptions& options)
      : options_(options),
        transport_(options.call == "http" ? MakeHttpTransport(options)
                                          : MakeGrpcTransport(options)) {}

  bool Run() {
    if (!transport_->CheckFirst()) return false;
    const double cpu_before = CpuSeconds(options_.pid);
    const double own_before = CpuSeconds(getpid());
    const int64_t start = NowNanoseconds();
    end_ = start + static_cast<int64_t>(options_.seconds * 1e9);
    if (options_.rate > 0) {
      OpenLoop(start);
    } else {
      for (int i = 0; i < options_.outstanding; ++i) Begin(NowNanoseconds());
    }
    std::unique_lock lock(mu_);
    done_.wait(lock, [&] { return out_ == 0; });
    const double seconds = static_cast<double>(NowNanoseconds() - start) / 1e9;
    const double cpu = CpuSeconds(options_.pid) - cpu_before;
    const auto calls = static_cast<double>(histogram_.count() + refused_);
    std::cout
        << absl::StrFormat(
               R"({"call": "%s", "calls": %.0f, "calls_per_s": %.1f, "cpu_us_per_call": %.2f, "p50_ms": %.4f, "p99_ms": %.4f, )"
               R"("p999_ms": %.4f, "errors": %d, "refused": %d, "late": %d, "left_out": %d, "own_cpu": %.2f, "answer_bytes": %d})",
               options_.call, calls, calls / seconds, cpu * 1e6 / std::max(calls, 1.0),
               histogram_.Percentile(50), histogram_.Percentile(99), histogram_.Percentile(99.9),
               errors_, refused_, late_, left_out_, (CpuSeconds(getpid()) - own_before) / seconds,
               transport_->answer_bytes())
        << std::endl;
    return errors_ == 0;
  }

 private:
  void OpenLoop(int64_t start) {
    const double step = 1e9 / options_.rate;
    for (int64_t i = 0;; ++i) {
      const int64_t scheduled = start + static_cast<int64_t>(step * static_cast<double>(i));
      if (scheduled >= end_) break;
      while (NowNanoseconds() < scheduled) {
        if (scheduled - NowNanoseconds() > 100'000)
          std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
      if (options_.most_outstanding > 0 &&
          (NowNanoseconds() >= end_ || Outstanding() >= options_.most_outstanding)) {
        ++left_out_;
        continue;
      }
      if (NowNanoseconds() - scheduled > kLateNanoseconds) ++late_;
      Begin(scheduled);
    }
    std::this_thread::sleep_for(std::chrono::nanoseconds(end_ - NowNanoseconds()));
  }

  int Outstanding() {
    std::lock_guard lock(mu_);
    return out_;
  }

  void Begin(int64_t scheduled) {
    {
      std::lock_guard lock(mu_);
      ++out_;
    }
    transport_->Start([this, scheduled](Transport::Answer answer) { End(scheduled, answer); });
  }

  void End(int64_t scheduled, Transport::Answer answer) {
    const int64_t now = NowNanoseconds();
    const bool again = options_.rate == 0 && now < end_;
    if (again) Begin(now);
    std::lock_guard lock(mu_);
    if (answer == Transport::Answer::kRefused && options_.refusals) {
      ++refused_;
    } else {
      histogram_.Add(now - scheduled);
      if (answer != Transport::Answer::kGood) ++errors_;
    }
    if (--out_ == 0) done_.notify_all();
  }

  const CallsOptions options_;
  int64_t end_ = 0;
  int64_t late_ = 0;
  int64_t left_out_ = 0;

  std::mutex mu_;
  std::condition_variable done_;
  // Guarded by mu_.
  Histogram histogram_;
  int64_t errors_ = 0;
  int64_t refused_ = 0;
  int out_ = 0;

  // Last, for its threads end first.
  const std::unique_ptr<Transport> transport_;
};

}  // namespace

bool RunCalls(const CallsOptions& options) { return Generator(options).Run(); }

}  // namespace finetune::bench
