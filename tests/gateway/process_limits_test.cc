#include "server/process_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A soft limit that is back to what it was at the end.
class Lowered {
 public:
  Lowered(__rlimit_resource_t resource, rlim_t soft) : resource_(resource) {
    getrlimit(resource_, &before_);
    const rlimit lowered{soft, before_.rlim_max};
    EXPECT_EQ(setrlimit(resource_, &lowered), 0);
  }
  ~Lowered() { setrlimit(resource_, &before_); }
  Lowered(const Lowered&) = delete;
  Lowered& operator=(const Lowered&) = delete;

 private:
  const __rlimit_resource_t resource_;
  rlimit before_{};
};

std::string Complaint() { return std::string(CheckProcessLimits().message()); }

TEST(ProcessLimits, AllowAnOrdinaryProcess) {
  EXPECT_EQ(Complaint(), "");
  EXPECT_GE(CpuLimit(), 1);
  EXPECT_GT(RaiseFileLimit(), 100u);
}

TEST(ProcessLimits, SayWhichLimitIsTooLow) {
  {
    const Lowered lowered(RLIMIT_NOFILE, 24);
    EXPECT_THAT(Complaint(), AllOf(HasSubstr("open files is 24"), HasSubstr("ulimit -n")));
  }
  // Sanitizers need more address space than there is.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  {
    const Lowered lowered(RLIMIT_AS, rlim_t{300} << 20);
    EXPECT_THAT(Complaint(), AllOf(HasSubstr("address space"), HasSubstr("ulimit -v")));
  }
#endif
  EXPECT_EQ(Complaint(), "");
}

}  // namespace
}  // namespace finetune
