#include "server/store/postgres_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/store/postgres_store.h"
#include "tests/store/postgres_server.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// Each side by itself; both together: postgres_store_test.cc.
class PostgresCopyTest : public DatabaseTest {
 protected:
  PgTarget Target() const { return {.url = server_.Url("record")}; }
  // A target that has begun, with that many changes of one job.
  std::unique_ptr<RecordTarget> Filled(uint64_t changes) {
    auto target = OpenPostgresTarget(Target());
    EXPECT_TRUE(target.ok()) << target.status();
    EXPECT_TRUE((*target)
                    ->Begin({.epoch = "an-epoch",
                             .marker_key = "a key of markers",
                             .seq = changes,
                             .revision = changes,
                             .eras = {{.id = 7, .began = absl::FromUnixSeconds(5), .why = "made"}}})
                    .ok());
    for (uint64_t revision = 1; revision <= changes; ++revision) {
      EXPECT_TRUE(
          (*target)
              ->Put(StoredChange{revision, absl::FromUnixSeconds(8), "a", "after", "before"})
              .ok());
    }
    return *std::move(target);
  }
};

TEST_F(PostgresCopyTest, WhatWasPutIsReadAgainInSlices) {
  constexpr uint64_t kMany = 2'500;
  {
    auto target = Filled(kMany);
    ASSERT_TRUE(target->End().ok());
  }
  const auto source = OpenPostgresSource(Target());
  ASSERT_TRUE(source.ok()) << source.status();
  const auto head = (*source)->Begin();
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->epoch, "an-epoch");
  EXPECT_EQ(head->marker_key, "a key of markers");
  EXPECT_EQ(head->revision, kMany);
  ASSERT_THAT(head->eras, SizeIs(1));
  EXPECT_EQ(head->eras[0].began, absl::FromUnixSeconds(5));
  uint64_t last = 0;
  ASSERT_TRUE((*source)
                  ->ReadChanges([&](const StoredChange& change) {
                    EXPECT_EQ(change.revision, ++last);
                    EXPECT_EQ(change.before, "before");
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(last, kMany);
  // Nobody else writes to it meanwhile.
  EXPECT_FALSE(OpenPostgresTarget(Target()).ok());
}

TEST_F(PostgresCopyTest, ATargetWithoutItsEndHasNothing) {
  Filled(3).reset();
  const auto source = OpenPostgresSource(Target());
  EXPECT_TRUE(!source.ok() || !(*source)->Begin().ok());
}

TEST_F(PostgresCopyTest, AMoveThatIsUnderWayKeepsGatewaysOutUntilItIsGivenUp) {
  ASSERT_TRUE(Filled(3)->End().ok());
  const auto mark = [&](const std::string& to) {
    auto source = OpenPostgresSource(Target());
    ASSERT_TRUE(source.ok() && (*source)->Begin().ok()) << source.status();
    ASSERT_TRUE((*source)->MarkUnderWay(to).ok());
  };
  const auto start = [&] { return OpenPostgresStore({.target = Target()}).status(); };
  mark("sqlite:/a");
  EXPECT_THAT(std::string(start().message()), HasSubstr("run copy-store from here to there again"));
  {
    auto source = OpenPostgresSource(Target()).value();
    ASSERT_TRUE(source->Begin().ok());
    EXPECT_EQ(source->under_way_to(), "sqlite:/a");
  }
  {
    auto target = OpenPostgresTarget(Target()).value();
    EXPECT_TRUE(target->Has({.epoch = "an-epoch"}).value());
    EXPECT_FALSE(target->Has({.epoch = "another"}).value());
  }
  mark("");
  EXPECT_EQ(start(), absl::OkStatus());
}

TEST_F(PostgresCopyTest, ADatabaseThatIsNotThereIsNoSource) {
  const absl::Status refused = OpenPostgresSource({.url = server_.Url("elsewhere")}).status();
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.message()), HasSubstr("elsewhere"));
}

}  // namespace
}  // namespace finetune
