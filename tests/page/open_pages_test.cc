#include "server/page/open_pages.h"

#include <gtest/gtest.h>

#include "tests/jobs/watching/watch_world.h"

namespace finetune {
namespace {

TEST(OpenPages, RunsNoTimerWhileNobodyLooks) {
  WatchMemoryStore store;
  ManualClock clock;
  WatchWorld world(store, clock);
  const PageSource source{
      .hub = world.hub, .clock = clock, .status = [] { return pb::GatewayStatus(); }};
  const auto pages = std::make_shared<OpenPages>(clock, 1);
  const size_t before = clock.timers();
  clock.Advance(absl::Minutes(1));
  EXPECT_EQ(clock.timers(), before);

  auto stream = pages->Open(source, {.filter = *Filter::Parse("")});
  EXPECT_EQ(pages->Open(source, {.filter = *Filter::Parse("")}), nullptr);
  EXPECT_EQ(clock.timers(), before + 1);
  clock.Advance(absl::Minutes(1));
  EXPECT_EQ(clock.timers(), before + 1);

  stream = nullptr;
  EXPECT_EQ(pages->count(), 0u);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(clock.timers(), before);
}

}  // namespace
}  // namespace finetune
