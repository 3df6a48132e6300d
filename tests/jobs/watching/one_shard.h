#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string_view>

#include "server/jobs/watching/watch_shard.h"
#include "tests/jobs/watching/watch_world.h"

namespace finetune {

// A shard by itself, which the world's own hub knows nothing of.
class OneShardTest : public ::testing::Test {
 protected:
  static WatchSpec Spec(std::string_view filter = "") {
    WatchSpec spec;
    spec.filter = *Filter::Parse(filter);
    return spec;
  }

  static constexpr auto kQueued = pb::FineTune::QUEUED;
  static constexpr auto kTraining = pb::FineTune::TRAINING;
  static constexpr auto kFailed = pb::FineTune::FAILED;

  WatchMemoryStore store_;
  ManualClock clock_;
  WatchWorld world_{store_, clock_};
  Metrics metrics_;
  std::shared_ptr<WatchContext> context_ =
      std::make_shared<WatchContext>(WatchHub::Options(), world_.catalog, clock_, metrics_);
  std::shared_ptr<WatchShard> shard_ =
      std::make_shared<WatchShard>("watch-test", context_, std::make_shared<IdleWaiter>());
};

}  // namespace finetune
