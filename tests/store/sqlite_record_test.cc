#include "server/store/sqlite_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "tests/store/sample_rows.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SqliteRecordTest : public testing::Test {
 protected:
  SqliteRecordTest() : session_(SqliteSession::Open(":memory:", /*create=*/true).value()) {}

  absl::Status Write(const StoreBatch& batch) { return record_.Write(batch, meta_); }
  void Execute(const char* sql) { ASSERT_TRUE(session_->db.Execute(sql).ok()) << sql; }
  // What all rows' sums come to, looked at one by one.
  absl::StatusOr<StoreState> Load(int64_t& digest) {
    StoreState state;
    digest = 0;
    if (absl::Status loaded = record_.Load(state, digest); !loaded.ok()) return loaded;
    session_->meta.revision = meta_.revision;
    if (absl::Status loaded = record_.LoadChanges(state); !loaded.ok()) return loaded;
    return state;
  }
  absl::Status LoadFails() {
    int64_t digest = 0;
    return Load(digest).status();
  }

  const std::unique_ptr<SqliteSession> session_;
  SqliteRecord record_{*session_};
  SqliteMeta meta_;
};

TEST_F(SqliteRecordTest, LoadsWhatWasWrittenAndItsSum) {
  ASSERT_TRUE(Write({.changes = {Change(1, "a", "a1"), Change(2, "b", "b1")},
                     .put_intents = {MakeIntent("open", record::Intent::UNKNOWN),
                                     MakeIntent("over", record::Intent::ACCEPTED)}})
                  .ok());
  ASSERT_TRUE(Write({.changes = {Change(3, "a", "a2", "a1")}}).ok());
  int64_t digest = 0;
  const StoreState state = Load(digest).value();
  EXPECT_THAT(state.records, ElementsAre("a2", "b1"));
  EXPECT_EQ(state.changes.size(), 3u);
  ASSERT_EQ(state.unsettled_intents.size(), 1u);
  EXPECT_EQ(state.unsettled_intents[0].request_id(), "open");
  EXPECT_FALSE(state.marker_key.empty());
  EXPECT_NE(digest, 0);
  EXPECT_EQ(digest, meta_.digest);
  EXPECT_EQ(meta_.revision, 3u);
}

TEST_F(SqliteRecordTest, WhatIsForgottenIsInNoSum) {
  ASSERT_TRUE(
      Write({.changes = {Change(1, "a", "a1")},
             .put_intents = {MakeIntent("1", record::Intent::ACCEPTED, absl::FromUnixSeconds(5)),
                             MakeIntent("2", record::Intent::REFUSED, absl::FromUnixSeconds(50))}})
          .ok());
  ASSERT_TRUE(Write({.changes = {Change(2, "a", "a2", "a1", /*forgotten=*/true)},
                     .forget_changes_through = 2,
                     .forget_intents_before = absl::FromUnixSeconds(10),
                     .forget_refusals_before = absl::FromUnixSeconds(100)})
                  .ok());
  EXPECT_EQ(meta_.digest, 0);
  int64_t digest = 0;
  const StoreState state = Load(digest).value();
  EXPECT_THAT(state.records, IsEmpty());
  EXPECT_THAT(state.changes, IsEmpty());
  EXPECT_EQ(record_.FindIntent("alice", "1").value(), std::nullopt);
  EXPECT_EQ(record_.FindIntent("alice", "2").value(), std::nullopt);
  EXPECT_EQ(digest, 0);
}

TEST_F(SqliteRecordTest, ABatchThatDoesNotFollowIsRefused) {
  EXPECT_TRUE(absl::IsInternal(Write({.changes = {Change(2, "a", "a1")}})));
  meta_ = {};
  EXPECT_TRUE(absl::IsInternal(Write({.changes = {Change(1, "a", "a2", "a1")}})))
      << "it changes a job that is not there";
}

TEST_F(SqliteRecordTest, ARowThatWasChangedByHandIsDamage) {
  ASSERT_TRUE(Write({.changes = {Change(1, "a", "a1")}}).ok());
  Execute("UPDATE fine_tunes SET record = x'00'");
  EXPECT_TRUE(absl::IsDataLoss(LoadFails()));
  EXPECT_THAT(std::string(LoadFails().message()), HasSubstr("(a fine-tune cannot be read)"));
}

TEST_F(SqliteRecordTest, AGapInTheLogOfChangesIsDamage) {
  ASSERT_TRUE(
      Write({.changes = {Change(1, "a", "a1"), Change(2, "b", "b1"), Change(3, "c", "c1")}}).ok());
  Execute("DELETE FROM changes WHERE revision = 2");
  EXPECT_TRUE(absl::IsDataLoss(LoadFails()));
  EXPECT_THAT(std::string(LoadFails().message()), HasSubstr("(the log of changes cannot be read)"));
}

TEST_F(SqliteRecordTest, ADamagedIntentIsNeitherLoadedNorFound) {
  ASSERT_TRUE(Write({.put_intents = {MakeIntent("1", record::Intent::UNKNOWN)}}).ok());
  Execute("UPDATE intents SET intent = x'00'");
  EXPECT_TRUE(absl::IsDataLoss(LoadFails()));
  const absl::Status found = record_.FindIntent("alice", "1").status();
  EXPECT_TRUE(absl::IsUnavailable(found));
  EXPECT_EQ(ReasonOf(found), pb::ErrorReason::STORE_UNAVAILABLE);
}

TEST_F(SqliteRecordTest, CountsTheCreatesThatMadeAJobOrMayHave) {
  ASSERT_TRUE(Write({.put_intents = {MakeIntent("1", record::Intent::UNKNOWN),
                                     MakeIntent("2", record::Intent::ACCEPTED),
                                     MakeIntent("3", record::Intent::NOT_SUBMITTED),
                                     MakeIntent("4", record::Intent::REFUSED)}})
                  .ok());
  const CreateCount creates = record_.CountCreates("alice", absl::UnixEpoch()).value();
  EXPECT_EQ(creates.count, 2);
  EXPECT_EQ(creates.oldest, absl::FromUnixSeconds(1));
  EXPECT_EQ(record_.CountCreates("alice", absl::FromUnixSeconds(1)).value().count, 0);
  EXPECT_EQ(record_.CountCreates("bob", absl::UnixEpoch()).value().count, 0);
}

}  // namespace
}  // namespace finetune
