#include "server/store/sqlite_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/store/sqlite_database.h"
#include "server/store/sqlite_store.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// Each side by itself; both together: copy_store_test.cc.
class SqliteCopyTest : public testing::Test {
 protected:
  SqliteCopyTest() { std::filesystem::create_directories(folder_); }
  ~SqliteCopyTest() override { std::filesystem::remove_all(folder_); }

  static RecordHead Head() {
    return {.epoch = "an-epoch",
            .marker_key = "a key of markers",
            .seq = 9,
            .revision = 3,
            .eras = {{.id = 7, .began = absl::FromUnixSeconds(5), .why = "made"}}};
  }
  static StoredRecord Job() {
    record::FineTuneRecord record;
    record.mutable_fine_tune()->set_name("fineTunes/a");
    record.mutable_fine_tune()->set_revision(3);
    record.set_first_revision(1);
    return {.first_revision = 1, .revision = 3, .id = "a", .bytes = record.SerializeAsString()};
  }
  // A target that has begun and been given one job.
  std::unique_ptr<RecordTarget> Filled() {
    auto target = OpenSqliteTarget(path_);
    EXPECT_TRUE(target.ok()) << target.status();
    EXPECT_TRUE((*target)->Begin(Head()).ok());
    EXPECT_TRUE((*target)->Put(Job()).ok());
    return *std::move(target);
  }
  std::unique_ptr<RecordSource> Source() { return OpenSqliteSource(path_).value(); }

  const std::string folder_ = testing::TempDir() + "/copy-" + MakeUuid();
  const std::string path_ = folder_ + "/store.db";
};

TEST_F(SqliteCopyTest, WhatWasPutIsReadAgain) {
  auto target = Filled();
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id("r");
  intent.set_state(record::Intent::UNKNOWN);
  ASSERT_TRUE(target->Put(intent).ok());
  const SpendingRow spent{{.quarter = 1, .caller = "alice", .unit = "credits"}, {1, 5}};
  ASSERT_TRUE(target->Put(spent).ok());
  const StoredChange change{3, absl::FromUnixSeconds(8), "a", Job().bytes, "before"};
  ASSERT_TRUE(target->Put(change).ok());
  ASSERT_TRUE(target->End().ok());
  target.reset();

  const auto source = Source();
  const auto head = source->Begin();
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->epoch, "an-epoch");
  EXPECT_EQ(head->marker_key, "a key of markers");
  // A start looks whether it is whole, and begins an era by that.
  EXPECT_EQ(head->seq, 10);
  EXPECT_EQ(head->revision, 3);
  ASSERT_THAT(head->eras, SizeIs(2));
  EXPECT_EQ(head->eras[0].id, 7);
  int rows = 0;
  ASSERT_TRUE(source
                  ->ReadRecords([&](const StoredRecord& row) {
                    ++rows;
                    EXPECT_EQ(row.revision, 3);
                    EXPECT_EQ(row.bytes, Job().bytes);
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_TRUE(source
                  ->ReadChanges([&](const StoredChange& row) {
                    ++rows;
                    EXPECT_EQ(row.before, "before");
                    EXPECT_EQ(row.time, absl::FromUnixSeconds(8));
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_TRUE(source
                  ->ReadIntents([&](const record::Intent& row) {
                    ++rows;
                    EXPECT_EQ(row.request_id(), "r");
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_TRUE(source
                  ->ReadSpending([&](const SpendingRow& row) {
                    ++rows;
                    EXPECT_EQ(row, spent);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(rows, 4);
}

TEST_F(SqliteCopyTest, AnErrorOfWhoTakesTheRowsEndsTheReading) {
  auto target = Filled();
  ASSERT_TRUE(target->End().ok());
  target.reset();
  EXPECT_EQ(Source()->ReadRecords([](const StoredRecord&) { return absl::AbortedError("full"); }),
            absl::AbortedError("full"));
}

TEST_F(SqliteCopyTest, ATargetWithoutItsEndHasNothing) {
  Filled().reset();
  // So that it may be tried again.
  auto target = Filled();
  ASSERT_TRUE(target->End().ok());
}

TEST_F(SqliteCopyTest, APlaceThatHasARecordIsNoTarget) {
  auto target = Filled();
  ASSERT_TRUE(target->End().ok());
  target.reset();
  target = OpenSqliteTarget(path_).value();
  EXPECT_TRUE(target->Has({.epoch = "an-epoch"}).value());
  EXPECT_FALSE(target->Has({.epoch = "another"}).value());
  const absl::Status refused = target->Begin({.epoch = "an-epoch"});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("a record"));
}

TEST_F(SqliteCopyTest, APlaceWithoutARecordIsNoSourceAndStaysEmpty) {
  const absl::Status refused = OpenSqliteSource(path_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("there is no record at"));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SqliteCopyTest, AMoveThatIsUnderWayKeepsGatewaysOutUntilItIsGivenUp) {
  auto target = Filled();
  ASSERT_TRUE(target->End().ok());
  target.reset();
  ASSERT_TRUE(Source()->MarkUnderWay("postgresql://db/record").ok());
  EXPECT_THAT(std::string(OpenSqliteStore(path_).status().message()),
              HasSubstr("run copy-store from here to there again"));
  EXPECT_EQ(Source()->under_way_to(), "postgresql://db/record");
  ASSERT_TRUE(Source()->MarkUnderWay("").ok());
  EXPECT_EQ(Source()->under_way_to(), "");
  EXPECT_TRUE(OpenSqliteStore(path_).ok());
}

TEST_F(SqliteCopyTest, NoGatewayStartsOnARecordThatWasMoved) {
  auto target = Filled();
  ASSERT_TRUE(target->End().ok());
  target.reset();
  ASSERT_TRUE(Source()->MarkMoved("postgresql://db/record").ok());
  for (int i = 0; i < 2; ++i) {
    const absl::Status refused = OpenSqliteSource(path_).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("postgresql://db/record"));
  }
}

}  // namespace
}  // namespace finetune
