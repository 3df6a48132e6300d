#include "server/jobs/record/resume_token.h"

#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/store/lineage.h"

namespace finetune {
namespace {

constexpr char kEpoch[] = "0123456789abcdef";

TEST(ResumeToken, ComesBackAsItWas) {
  for (const uint64_t era : {uint64_t{1}, uint64_t{300}, uint64_t{INT64_MAX}}) {
    for (const ResumePoint& point :
         {ResumePoint{kEpoch, era, 0}, ResumePoint{kEpoch, era, 127}, ResumePoint{kEpoch, era, 128},
          ResumePoint{"", era, 5}, ResumePoint{std::string(64, 'e'), era, UINT64_MAX}}) {
      auto back = DecodeResumeToken(EncodeResumeToken(point));
      ASSERT_TRUE(back.ok()) << back.status();
      EXPECT_EQ(*back, point);
    }
  }
}

// As gateways before there were eras gave it out.
TEST(ResumeToken, ReadsTheFirstFormatAsOfTheFirstEra) {
  auto point = DecodeResumeToken("ARAwMTIzNDU2Nzg5YWJjZGVmuWChUszj");
  ASSERT_TRUE(point.ok()) << point.status();
  EXPECT_EQ(*point, (ResumePoint{kEpoch, Lineage::kFirstEra, 12345}));
}

TEST(ResumeToken, RefusesWhatIsNotOneOfOurs) {
  const std::string token = EncodeResumeToken({kEpoch, 99, 12345});
  std::vector<std::string> bad = {"",
                                  "x",
                                  "AQ",
                                  token + "A",
                                  token + "=",
                                  " " + token,
                                  token.substr(0, token.size() - 1),
                                  std::string(10'000, 'A')};
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    bad.push_back(changed);
  }
  for (const std::string& text : bad) {
    const absl::Status status = DecodeResumeToken(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::RESUME_TOKEN_INVALID);
  }
}

}  // namespace
}  // namespace finetune
