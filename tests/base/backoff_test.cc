#include "server/base/backoff.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(Backoff, DoublesUpToItsMostWithJitterOfAHalf) {
  Backoff backoff(absl::Seconds(1), absl::Seconds(5));
  for (absl::Duration step :
       {absl::Seconds(1), absl::Seconds(2), absl::Seconds(4), absl::Seconds(5), absl::Seconds(5)}) {
    const absl::Duration delay = backoff.Next();
    EXPECT_GE(delay, step / 2);
    EXPECT_LE(delay, step);
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Seconds(1));
}

TEST(Backoff, DiffersBetweenClients) {
  Backoff a(absl::Seconds(1), absl::Seconds(1));
  Backoff b(absl::Seconds(1), absl::Seconds(1));
  bool differs = false;
  for (int i = 0; i < 10; ++i) differs |= a.Next() != b.Next();
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace finetune
