#include "server/store/reading_bytes.h"

#include <gtest/gtest.h>

#include "server/base/error.h"

namespace finetune {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

TEST(ReadingBytes, TellWhatTheAccountHasLeftOrNothing) {
  const DatabaseClock clock;
  FleetReading reading;
  reading.served = 3;
  auto read = DecodeReading(EncodeReading(reading, clock), clock);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->served, 3u);
  EXPECT_FALSE(read->credits);
  reading.credits = {12'500'000, kStart};
  read = DecodeReading(EncodeReading(reading, clock), clock);
  ASSERT_TRUE(read && read->credits);
  EXPECT_EQ(read->credits->micros, 12'500'000);
  EXPECT_EQ(read->credits->time, kStart);
  // None left is not the same as not known.
  reading.credits->micros = 0;
  read = DecodeReading(EncodeReading(reading, clock), clock);
  ASSERT_TRUE(read && read->credits);
  EXPECT_EQ(read->credits->micros, 0);
}

TEST(ReadingBytes, GoThroughTheDatabasesTimeAndMakeNothingLookNewer) {
  DatabaseClock leaders, others;
  leaders.Note(kStart, kStart + absl::Seconds(1), kStart + absl::Hours(1));
  others.Note(kStart, kStart + absl::Seconds(2), kStart + absl::Hours(1));
  FleetReading reading;
  reading.list_time = kStart + absl::Seconds(10);
  reading.not_shown = {{"a", kStart}, {"never", absl::InfinitePast()}};
  reading.revision = 41;
  reading.partial = true;
  reading.failed = 9;
  reading.upstream_state = pb::GatewayStatus::CREDENTIAL_REJECTED;
  const auto read = DecodeReading(EncodeReading(reading, leaders), others);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->revision, 41u);
  EXPECT_TRUE(read->partial);
  EXPECT_EQ(read->failed, 9u);
  EXPECT_EQ(read->upstream_state, pb::GatewayStatus::CREDENTIAL_REJECTED);
  EXPECT_TRUE(read->failure.ok());
  EXPECT_LE(read->list_time, reading.list_time);
  EXPECT_GE(read->list_time, reading.list_time - absl::Seconds(3));
  ASSERT_EQ(read->not_shown.size(), 2u);
  EXPECT_LE(read->not_shown.at("a"), kStart);
  EXPECT_EQ(read->not_shown.at("never"), absl::InfinitePast());
  EXPECT_EQ(DecodeReading(EncodeReading(FleetReading(), leaders), others)->list_time,
            absl::InfinitePast());
}

TEST(ReadingBytes, KeepAFailuresCodeReasonAndAsMuchOfItsWordsAsIsUseful) {
  const DatabaseClock clock;
  FleetReading reading;
  reading.failure =
      Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
            "bad key \xff" + std::string(5'000, 'x'));
  const auto read = DecodeReading(EncodeReading(reading, clock), clock);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->failure.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReasonOf(read->failure), pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED);
  EXPECT_LE(read->failure.message().size(), 1'000u);
  EXPECT_EQ(read->failure.message().substr(0, 8), "bad key ");
}

TEST(ReadingBytes, OfAnotherVersionAreNoneOrWhatIsKnownOfThem) {
  const DatabaseClock clock;
  EXPECT_FALSE(DecodeReading("", clock));
  EXPECT_FALSE(DecodeReading("\xff\xff", clock));
  record::Reading bytes;
  bytes.mutable_failure()->set_code(77);
  bytes.mutable_failure()->set_reason(12'345);
  bytes.mutable_failure()->set_message("later words");
  const auto read = DecodeReading(bytes.SerializeAsString(), clock);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->failure.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(read->failure), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  EXPECT_EQ(read->failure.message(), "later words");
}

TEST(ReadingBytes, AListThatShowsNothingAtAllTakesNoMegabytes) {
  const DatabaseClock clock;
  FleetReading reading;
  for (int i = 0; i < 12'000; ++i) reading.not_shown[std::to_string(i)] = kStart;
  EXPECT_EQ(DecodeReading(EncodeReading(reading, clock), clock)->not_shown.size(), 10'000u);
}

}  // namespace
}  // namespace finetune
