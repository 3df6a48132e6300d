#include "server/jobs/tracking/unknown_words.h"

#include "gtest/gtest.h"

namespace finetune {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

TEST(UnknownWords, TellsAWordOnce) {
  UnknownWords words(absl::Hours(1));
  EXPECT_TRUE(words.Note("a", "POLISHING", kNow));
  EXPECT_FALSE(words.Note("a", "POLISHING", kNow));
  EXPECT_FALSE(words.Note("b", "POLISHING", kNow));
  EXPECT_TRUE(words.Note("b", "WAXING", kNow));
}

TEST(UnknownWords, ADueJobIsTakenOnceItsWordHasStoodForTheTimeout) {
  UnknownWords words(absl::Hours(1));
  words.Note("a", "POLISHING", kNow);
  words.Note("a", "POLISHING", kNow + absl::Minutes(50));
  words.Note("b", "POLISHING", kNow);
  words.Note("b", "WAXING", kNow + absl::Minutes(30));
  EXPECT_EQ(words.NextDue(), kNow + absl::Hours(1));
  EXPECT_TRUE(words.TakeDue(kNow + absl::Minutes(59)).empty());
  EXPECT_EQ(words.TakeDue(kNow + absl::Hours(1)), std::vector<std::string>{"a"});
  EXPECT_EQ(words.NextDue(), kNow + absl::Minutes(90)) << "another word is another state";
  EXPECT_EQ(words.TakeDue(kNow + absl::Hours(2)), std::vector<std::string>{"b"});
  EXPECT_EQ(words.NextDue(), absl::InfiniteFuture());
}

}  // namespace
}  // namespace finetune
