#include "server/access/known_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

const absl::Time kFirst = absl::FromUnixSeconds(1'700'000'000);
constexpr size_t kMebibyte = 1 << 20;

Admission Of(const std::string& identity, absl::Time good_until = absl::InfiniteFuture()) {
  return {std::make_shared<const Caller>(
              Caller{identity, Role::kViewer, /*sees_all=*/false, /*limits=*/{}, /*use=*/{}}),
          good_until};
}

std::string LongToken(int number) { return absl::StrCat(std::string(8'000, 'x'), number); }

class KnownTokensTest : public ::testing::Test {
 protected:
  bool Knows(const std::string& token, absl::Time now = kFirst) {
    return tokens_.Find(token, now).has_value();
  }
  void Add(const std::string& token, absl::Time good_until = absl::InfiniteFuture(),
           absl::Time now = kFirst) {
    tokens_.Add(token, Of(token, good_until), absl::InfinitePast(), now);
  }

  KnownTokens tokens_;
};

TEST_F(KnownTokensTest, TellTokensApart) {
  Add("one");
  Add("two");
  ASSERT_TRUE(Knows("one"));
  EXPECT_EQ(tokens_.Find("one", kFirst)->caller->identity, "one");
  EXPECT_EQ(tokens_.Find("two", kFirst)->caller->identity, "two");
  for (const char* other : {"", "on", "onE", "one ", "three"}) EXPECT_FALSE(Knows(other)) << other;
}

TEST_F(KnownTokensTest, AreGoodInTheirTimeOnly) {
  const absl::Time end = kFirst + absl::Seconds(10);
  tokens_.Add("one", Of("one", end), kFirst, kFirst);
  EXPECT_FALSE(Knows("one", kFirst - absl::Nanoseconds(1)));
  EXPECT_TRUE(Knows("one", kFirst));
  EXPECT_TRUE(Knows("one", end - absl::Nanoseconds(1)));
  EXPECT_EQ(tokens_.Find("one", kFirst)->good_until, end);
  EXPECT_FALSE(Knows("one", end));
}

TEST_F(KnownTokensTest, TakeABoundedAmountOfMemory) {
  constexpr int kMany = 3'000;
  for (int i = 0; i < kMany; ++i) {
    Add(LongToken(i));
    ASSERT_TRUE(Knows(LongToken(i))) << "the latest always stays";
  }
  size_t bytes = 0;
  for (int i = 0; i < kMany; ++i) bytes += Knows(LongToken(i)) ? LongToken(i).size() : 0;
  EXPECT_LE(bytes, 8 * kMebibyte);
  EXPECT_GE(bytes, kMebibyte);
}

TEST_F(KnownTokensTest, LetGoOfThoseThatEndedBeforeOthers) {
  for (int i = 0; i < 200; ++i) Add(absl::StrCat("lasting", i));
  // One after another, for longer than there is memory.
  absl::Time now = kFirst;
  for (int i = 0; i < 3'000; ++i, now += absl::Seconds(1))
    Add(LongToken(i), now + absl::Seconds(500), now);
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(Knows(absl::StrCat("lasting", i), now)) << i;
}

TEST_F(KnownTokensTest, AreTheSameForAllThreads) {
  const auto run = [this] {
    for (int i = 0; i < 20'000; ++i) {
      const std::string token = absl::StrCat("token", i % 50);
      const auto found = tokens_.Find(token, kFirst);
      if (found) {
        EXPECT_EQ(found->caller->identity, token);
      } else {
        Add(token);
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Knows(absl::StrCat("token", i)));
}

}  // namespace
}  // namespace finetune
