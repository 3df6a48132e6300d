#include "server/base/time_proto.h"

#include <gtest/gtest.h>

#include <limits>

namespace finetune {
namespace {

TEST(TimeProto, KeepsATimeToTheNanosecondThereAndBack) {
  for (const absl::Time time :
       {absl::UnixEpoch(), absl::FromUnixNanos(1'735'689'630'123'456'789), absl::FromUnixNanos(-1),
        absl::FromUnixNanos(-1'500'000'000),
        absl::FromUnixSeconds(253'402'300'799) + absl::Nanoseconds(999'999'999)})
    EXPECT_EQ(FromProto(ToProto(time)), time) << time;
}

TEST(TimeProto, CountsNanosForwardAlsoBefore1970) {
  // A Timestamp whose nanos are negative is none.
  const google::protobuf::Timestamp proto = ToProto(absl::FromUnixNanos(-1));
  EXPECT_EQ(proto.seconds(), -1);
  EXPECT_EQ(proto.nanos(), 999'999'999);
}

TEST(TimeProto, TakesDurationsOfEitherSign) {
  google::protobuf::Duration proto;
  proto.set_seconds(-1);
  proto.set_nanos(-500'000'000);
  EXPECT_EQ(FromProto(proto), -absl::Milliseconds(1500));
}

TEST(TimeProto, SurvivesWhatNoClockSays) {
  google::protobuf::Duration duration;
  duration.set_seconds(std::numeric_limits<int64_t>::max());
  duration.set_nanos(std::numeric_limits<int32_t>::max());
  EXPECT_GT(FromProto(duration), absl::Hours(1'000'000));
  EXPECT_LT(absl::UnixEpoch() - FromProto(duration), absl::UnixEpoch());
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(std::numeric_limits<int64_t>::min());
  timestamp.set_nanos(std::numeric_limits<int32_t>::min());
  EXPECT_LT(FromProto(timestamp), absl::UnixEpoch());
}

}  // namespace
}  // namespace finetune
