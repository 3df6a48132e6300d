#include "server/store/reading_bytes.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace finetune
