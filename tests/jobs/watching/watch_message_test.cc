#include "server/jobs/watching/watch_message.h"

#include <gtest/gtest.h>

#include "server/base/time_proto.h"
#include "tests/jobs/watching/watch_world.h"

namespace finetune {
namespace {

const ResumePoint kPoint{"0123456789abcdef", 5, 42};

TEST(WatchMessage, CarriesATokenThatLeadsBackToItsPoint) {
  for (const auto& message :
       {Decode(EncodeSynced(kPoint)), Decode(EncodeHeartbeat(kPoint, absl::InfinitePast()))}) {
    EXPECT_EQ(message.revision(), 42u);
    const auto point = DecodeResumeToken(message.resume_token());
    ASSERT_TRUE(point.ok()) << point.status();
    EXPECT_EQ(*point, kPoint);
  }
}

TEST(WatchMessage, IsOfTheKindThatWasAskedFor) {
  EXPECT_TRUE(Decode(EncodeSynced(kPoint)).has_synced());
  EXPECT_TRUE(Decode(EncodeHeartbeat(kPoint, absl::InfinitePast())).has_heartbeat());
}

TEST(WatchMessage, AHeartbeatSaysWhenSegmindWasReadIfItWas) {
  const absl::Time time = absl::FromUnixNanos(1'700'000'000'123'456'789);
  EXPECT_EQ(FromProto(Decode(EncodeHeartbeat(kPoint, time)).heartbeat().observe_time()), time);
  EXPECT_FALSE(
      Decode(EncodeHeartbeat(kPoint, absl::InfinitePast())).heartbeat().has_observe_time());
}

TEST(WatchMessage, ARestartHasNoTokenForTheOldOneIsUseless) {
  const auto message = Decode(EncodeReset(pb::Restart::TOO_SLOW));
  EXPECT_EQ(message.restart().reason(), pb::Restart::TOO_SLOW);
  EXPECT_EQ(message.resume_token(), "");
  EXPECT_EQ(message.revision(), 0u);
}

}  // namespace
}  // namespace finetune
