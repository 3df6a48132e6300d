#include "server/store/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "server/base/error.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// A folder of a test's own.
class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreTest() : folder_(absl::StrCat(testing::TempDir(), "/store-", MakeUuid())) {
    std::filesystem::create_directories(folder_);
    path_ = folder_ + "/store.db";
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  std::string path_;
};

StoredChange MakeChange(uint64_t revision, const std::string& id, const std::string& before,
                        size_t size = 100) {
  StoredChange change;
  change.revision = revision;
  change.time = absl::FromUnixNanos(1'700'000'000'000'000'007);
  change.fine_tune_id = id;
  change.after = absl::StrCat(id, "@", revision, std::string(size, 'x'));
  change.before = before;
  return change;
}

StoreBatch MakeBatch(std::vector<StoredChange> changes) {
  StoreBatch batch;
  batch.changes = std::move(changes);
  return batch;
}

record::Intent MakeIntent(const std::string& id, record::Intent::State state) {
  record::Intent intent;
  intent.set_caller("caller");
  intent.set_request_id(id);
  intent.set_state(state);
  return intent;
}

void Execute(const std::string& path, const char* sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

TEST_F(SqliteStoreTest, KeepsWhatWasCommitted) {
  path_ = folder_ + "/made/on/the/way/store.db";
  std::string epoch;
  std::string before;
  {
    auto store = OpenSqliteStore(path_).value();
    StoreState state = store->Load().value();
    epoch = state.epoch;
    EXPECT_FALSE(epoch.empty());
    EXPECT_EQ(state.point.revision, 0u);
    StoreBatch batch = MakeBatch({MakeChange(1, "b", ""), MakeChange(2, "a", "")});
    before = batch.changes[0].after;
    batch.put_intents = {MakeIntent("1", record::Intent::PREPARED),
                         MakeIntent("2", record::Intent::UNKNOWN),
                         MakeIntent("3", record::Intent::ACCEPTED)};
    ASSERT_TRUE(store->Commit(batch).why.ok());
    batch = MakeBatch({MakeChange(3, "b", before)});
    batch.put_intents = {MakeIntent("2", record::Intent::NOT_SUBMITTED)};
    ASSERT_TRUE(store->Commit(batch).why.ok());
    EXPECT_TRUE(store->CheckWritable().ok());
  }
  auto store = OpenSqliteStore(path_).value();
  StoreState state = store->Load().value();
  EXPECT_EQ(state.epoch, epoch);
  EXPECT_EQ(state.point.revision, 3u);
  ASSERT_EQ(state.records.size(), 2u);
  EXPECT_EQ(state.records[0], MakeChange(3, "b", "").after) << "in the order of creation";
  EXPECT_EQ(state.records[1], MakeChange(2, "a", "").after);
  ASSERT_EQ(state.changes.size(), 3u);
  EXPECT_EQ(state.changes[2].before, before);
  EXPECT_EQ(state.changes[2].fine_tune_id, "b");
  EXPECT_EQ(state.changes[2].time, absl::FromUnixNanos(1'700'000'000'000'000'007));
  ASSERT_EQ(state.unsettled_intents.size(), 1u);
  EXPECT_EQ(state.unsettled_intents[0].request_id(), "1");
  EXPECT_EQ(store->FindIntent("caller", "2").value()->state(), record::Intent::NOT_SUBMITTED);
  EXPECT_EQ(store->FindIntent("caller", "3").value()->state(), record::Intent::ACCEPTED);
  EXPECT_EQ(store->FindIntent("", "").value(), std::nullopt);
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u) << "nobody else may read it";
}

TEST_F(SqliteStoreTest, ForgetsWhatItIsToldTo) {
  auto store = OpenSqliteStore(path_).value();
  StoreBatch batch;
  for (uint64_t i = 1; i <= 100; ++i) {
    batch.changes.push_back(MakeChange(i, std::to_string(i), ""));
  }
  batch.forget_changes_through = 90;
  auto old = MakeIntent("old", record::Intent::ACCEPTED);
  *old.mutable_settle_time() = ToProto(absl::FromUnixSeconds(1'000));
  auto fresh = MakeIntent("fresh", record::Intent::ACCEPTED);
  *fresh.mutable_settle_time() = ToProto(absl::FromUnixSeconds(2'000));
  batch.put_intents = {old, fresh, MakeIntent("unsettled", record::Intent::UNKNOWN)};
  ASSERT_TRUE(store->Commit(batch).why.ok());
  StoreState state = store->Load().value();
  EXPECT_EQ(state.records.size(), 100u);
  ASSERT_EQ(state.changes.size(), 10u);
  EXPECT_EQ(state.changes.front().revision, 91u);

  batch = MakeBatch({MakeChange(101, "x", "")});
  batch.forget_changes_through = 100;
  batch.forget_intents_before = absl::FromUnixSeconds(1'500);
  ASSERT_TRUE(store->Commit(batch).why.ok());
  EXPECT_EQ(store->Load().value().changes.size(), 1u);
  EXPECT_EQ(store->FindIntent("caller", "old").value(), std::nullopt);
  EXPECT_TRUE(store->FindIntent("caller", "fresh").value().has_value());
  EXPECT_TRUE(store->FindIntent("caller", "unsettled").value().has_value());
}

TEST_F(SqliteStoreTest, AMalformedBatchLeavesNothing) {
  auto store = OpenSqliteStore(":memory:").value();
  EXPECT_FALSE(store->Commit(MakeBatch({MakeChange(1, "a", ""), MakeChange(3, "b", "")})).why.ok());
  EXPECT_FALSE(store->Commit(MakeBatch({MakeChange(1, "a", ""), MakeChange(2, "a", "")})).why.ok());
  EXPECT_FALSE(store->Commit(MakeBatch({MakeChange(1, "a", "it was there")})).why.ok());
  StoreState state = store->Load().value();
  EXPECT_EQ(state.point.revision, 0u);
  EXPECT_TRUE(state.records.empty());
  EXPECT_TRUE(store->Commit(MakeBatch({MakeChange(1, "a", "")})).why.ok());
}

TEST_F(SqliteStoreTest, RefusesAFileInOneClearSentence) {
  const auto refusal = [](const std::string& path) {
    auto store = OpenSqliteStore(path);
    EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition) << store.status();
    EXPECT_THAT(std::string(store.status().message()), HasSubstr(path));
    return std::string(store.status().message());
  };
  {
    auto store = OpenSqliteStore(path_).value();
    EXPECT_THAT(refusal(path_), HasSubstr("is in use by another process"));
  }
  Execute(path_, "PRAGMA user_version = 99");
  EXPECT_THAT(refusal(path_), HasSubstr("was written by a newer version"));
  Execute(folder_ + "/other.db", "CREATE TABLE t (x)");
  EXPECT_THAT(refusal(folder_ + "/other.db"), HasSubstr("is an SQLite file of something else"));
  std::ofstream(folder_ + "/text") << std::string(5'000, 'x');
  EXPECT_THAT(refusal(folder_ + "/text"), HasSubstr("is not an SQLite file"));
  EXPECT_THAT(refusal(folder_), HasSubstr("cannot be opened"));
  EXPECT_THAT(refusal(folder_ + "/text/store.db"), HasSubstr("cannot be made"));
  EXPECT_THAT(refusal("/proc/none/store.db"), HasSubstr("cannot be made"));
}

record::Intent MakeIntentAt(const std::string& id, record::Intent::State state, int64_t seconds) {
  record::Intent intent = MakeIntent(id, state);
  *intent.mutable_create_time() = ToProto(absl::FromUnixSeconds(seconds));
  return intent;
}

StoreBatch IntentsAtSeconds1To6() {
  StoreBatch batch;
  batch.put_intents = {MakeIntentAt("1", record::Intent::ACCEPTED, 1),
                       MakeIntentAt("2", record::Intent::PREPARED, 2),
                       MakeIntentAt("3", record::Intent::UNKNOWN, 3),
                       MakeIntentAt("4", record::Intent::NOT_SUBMITTED, 4),
                       MakeIntentAt("5", record::Intent::ACCEPTED, 5),
                       MakeIntentAt("6", record::Intent::ACCEPTED, 6)};
  batch.put_intents.back().set_caller("somebody else");
  return batch;
}

TEST_F(SqliteStoreTest, CountsTheCreatesOfACaller) {
  auto store = OpenSqliteStore(path_).value();
  ASSERT_TRUE(store->Commit(IntentsAtSeconds1To6()).why.ok());
  CreateCount creates = store->CountCreates("caller", absl::FromUnixSeconds(1)).value();
  EXPECT_EQ(creates.count, 3);
  EXPECT_EQ(creates.oldest, absl::FromUnixSeconds(2));
  EXPECT_EQ(store->CountCreates("caller", absl::FromUnixSeconds(5))->count, 0);
  EXPECT_EQ(store->CountCreates("nobody", absl::FromUnixSeconds(0))->count, 0);
  StoreBatch given_back;
  given_back.put_intents = {MakeIntentAt("2", record::Intent::REFUSED, 2),
                            MakeIntentAt("3", record::Intent::NOT_SUBMITTED, 3)};
  ASSERT_TRUE(store->Commit(given_back).why.ok());
  EXPECT_EQ(store->CountCreates("caller", absl::FromUnixSeconds(1))->count, 1);
}

// As earlier versions made their tables.
constexpr char kForm2[] = R"(
  CREATE TABLE meta (only INTEGER PRIMARY KEY CHECK (only = 1), epoch TEXT NOT NULL,
    revision INTEGER NOT NULL);
  CREATE TABLE fine_tunes (first_revision INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL);
  CREATE TABLE changes (revision INTEGER PRIMARY KEY, time INTEGER NOT NULL, id TEXT NOT NULL,
    after BLOB NOT NULL, before BLOB);
  CREATE TABLE intents (caller TEXT NOT NULL, request_id TEXT NOT NULL, state INTEGER NOT NULL,
    marker TEXT NOT NULL, settle_time INTEGER, intent BLOB NOT NULL,
    create_time INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (caller, request_id)) WITHOUT ROWID;
  CREATE INDEX intents_by_state ON intents (state) WHERE state < 3;
  CREATE INDEX intents_by_settle_time ON intents (settle_time) WHERE settle_time IS NOT NULL;
  CREATE INDEX intents_by_create_time ON intents (caller, create_time, state);
  INSERT INTO meta VALUES (1, 'theoldepoch', 7);
  INSERT INTO fine_tunes VALUES (3, 'a', 'the job a'), (4, 'b', 'the job b');
  INSERT INTO changes VALUES (6, 60, 'a', 'a6', 'a3'), (7, 70, 'a', 'the job a', 'a6');
  PRAGMA user_version = 2;
)";

TEST_F(SqliteStoreTest, BringsEarlierFormsToThisOne) {
  for (const bool first_form : {false, true}) {
    std::filesystem::remove(path_ + "-mark");
    std::filesystem::remove(path_);
    Execute(path_, kForm2);
    for (const record::Intent& intent : IntentsAtSeconds1To6().put_intents) {
      std::string hex;
      for (const unsigned char c : intent.SerializeAsString())
        absl::StrAppend(&hex, absl::Hex(c, absl::kZeroPad2));
      Execute(path_, absl::StrCat("INSERT INTO intents VALUES ('", intent.caller(), "', '",
                                  intent.request_id(), "', ", intent.state(), ", '', NULL, x'", hex,
                                  "', ", intent.create_time().seconds(), "000000000)")
                         .c_str());
    }
    if (first_form) {
      Execute(path_,
              "DROP INDEX intents_by_create_time; ALTER TABLE intents DROP COLUMN create_time;"
              "PRAGMA user_version = 1");
    }
    for (int i = 0; i < 2; ++i) {
      auto store = OpenSqliteStore(path_);
      ASSERT_TRUE(store.ok()) << store.status();
      auto state = (*store)->Load();
      ASSERT_TRUE(state.ok()) << state.status();
      EXPECT_EQ(state->epoch, "theoldepoch");
      EXPECT_EQ(state->point.revision, 7u);
      EXPECT_THAT(state->records, testing::ElementsAre("the job a", "the job b"));
      EXPECT_EQ(state->changes.size(), 2u);
      EXPECT_EQ(state->unsettled_intents.size(), 2u);
      EXPECT_EQ((*store)->CountCreates("caller", absl::FromUnixSeconds(1))->count, 3);
      // The two whose outcome is open, of which no job is visible.
      const SpendingRows spending = (*store)->ReadSpending({}).value();
      ASSERT_EQ(spending.size(), 1u);
      EXPECT_EQ(spending.begin()->first.caller, "caller");
      EXPECT_EQ(spending.begin()->second.jobs, 2);
      EXPECT_TRUE(state->lineage.HasRevision(Lineage::kFirstEra, 7, 7));
      EXPECT_FALSE(state->lineage.HasRevision(Lineage::kFirstEra, 8, 9));
    }
  }
}

TEST_F(SqliteStoreTest, WhatWasSpentIsNotReadFromADamagedRow) {
  const TotalKey total{.subject = AccountSubject(), .measure = kCountJobs, .end = 9};
  {
    auto store = OpenSqliteStore(path_).value();
    ASSERT_TRUE(store->Load().ok());
    StoreBatch batch;
    batch.spending[{.quarter = 3, .caller = "c"}] = {.jobs = 2};
    batch.new_totals = {{total, 5}};
    ASSERT_TRUE(store->Commit(batch).why.ok());
    EXPECT_EQ(store->FindTotals({total}).value()[0], 7);
  }
  for (const char* damage :
       {"UPDATE totals SET amount = 0", "UPDATE spending SET jobs = 1", "DELETE FROM totals"}) {
    std::filesystem::copy_file(path_, path_ + ".kept");
    std::filesystem::remove(path_ + "-mark");
    Execute(path_, damage);
    auto store = OpenSqliteStore(path_).value();
    EXPECT_EQ(store->Load().status().code(), absl::StatusCode::kDataLoss) << damage;
    store.reset();
    std::filesystem::remove(path_ + "-wal");
    std::filesystem::rename(path_ + ".kept", path_);
  }
}

TEST_F(SqliteStoreTest, AFileThatWasTakenAwayIsNoticed) {
  auto store = OpenSqliteStore(path_).value();
  ASSERT_TRUE(store->Commit(MakeBatch({MakeChange(1, "a", "")})).why.ok());
  std::filesystem::rename(path_, path_ + ".away");
  const absl::Status status = store->Commit(MakeBatch({MakeChange(2, "b", "")})).why;
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_FALSE(store->CheckWritable().ok());
  std::filesystem::rename(path_ + ".away", path_);
  EXPECT_TRUE(store->Commit(MakeBatch({MakeChange(2, "b", "")})).why.ok());
}

// Lets no file of this process grow beyond `bytes`, as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &old_); }

 private:
  rlimit old_;
};

TEST_F(SqliteStoreTest, AFullDiskIsUnavailableAndTheStoreRecoversByItself) {
  auto store = OpenSqliteStore(path_).value();
  uint64_t revision = 0;
  const auto commit = [&](size_t size) {
    const std::string id = std::to_string(revision + 1);
    StoreBatch batch = MakeBatch({MakeChange(revision + 1, id, "", size)});
    batch.put_intents = {MakeIntent(id, record::Intent::UNKNOWN)};
    absl::Status status = store->Commit(batch).why;
    if (status.ok()) ++revision;
    return status;
  };
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(commit(1'000).ok());
    {
      FileSizeLimit limit(std::filesystem::file_size(path_ + "-wal") + 300'000);
      absl::Status status;
      while (status.ok() && revision < 1'000) status = commit(50'000);
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      EXPECT_EQ(ReasonOf(status), pb::ErrorReason::STORE_UNAVAILABLE);
      EXPECT_FALSE(commit(50'000).ok());
      StoreState state = store->Load().value();
      EXPECT_EQ(state.point.revision, revision) << "it can still be read";
      EXPECT_EQ(state.records.size(), revision);
      EXPECT_EQ(state.unsettled_intents.size(), revision);
    }
    EXPECT_TRUE(store->CheckWritable().ok());
    EXPECT_TRUE(commit(50'000).ok());
  }
  store.reset();
  EXPECT_EQ(OpenSqliteStore(path_).value()->Load().value().point.revision, revision);
}

// Commits as fast as it can and says each revision through `pipe` once it is acknowledged.
[[noreturn]] void CommitUntilKilled(const std::string& path, int pipe, unsigned seed) {
  auto store = OpenSqliteStore(path);
  if (!store.ok()) _exit(1);
  auto state = (*store)->Load();
  if (!state.ok()) _exit(2);
  std::mt19937 random(seed);
  std::vector<std::string> latest = state->records;
  uint64_t revision = state->point.revision;
  while (true) {
    StoreBatch batch;
    for (size_t n = 1 + random() % 5; n > 0; --n) {
      ++revision;
      const size_t job = random() % (latest.size() + 1);
      if (job == latest.size()) latest.emplace_back();
      batch.changes.push_back(
          MakeChange(revision, std::to_string(job), latest[job], random() % 3'000));
      latest[job] = batch.changes.back().after;
      batch.put_intents.push_back(MakeIntent(std::to_string(revision), record::Intent::UNKNOWN));
    }
    batch.forget_changes_through = revision > 50 ? revision - 50 : 0;
    if (!(*store)->Commit(batch).why.ok()) _exit(3);
    if (write(pipe, &revision, sizeof revision) != sizeof revision) _exit(4);
  }
}

TEST_F(SqliteStoreTest, AKilledProcessLosesNothingThatWasAcknowledged) {
  std::mt19937 random(11);
  uint64_t acknowledged = 0;
  for (unsigned round = 0; round < 25; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) CommitUntilKilled(path_, ends[1], round);
    close(ends[1]);
    // Killed after so many acknowledgements, wherever it is by then.
    uint64_t revision = 0;
    for (size_t left = 1 + random() % 40; left > 0; --left) {
      ASSERT_EQ(read(ends[0], &revision, sizeof revision), ssize_t{sizeof revision});
      acknowledged = revision;
    }
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    while (read(ends[0], &revision, sizeof revision) == ssize_t{sizeof revision}) {
      acknowledged = revision;
    }
    close(ends[0]);

    auto store = OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    StoreState state = (*store)->Load().value();
    ASSERT_GE(state.point.revision, acknowledged);
    ASSERT_LE(state.point.revision, acknowledged + 5) << "at most the batch that was under way";
    ASSERT_EQ(state.unsettled_intents.size(), state.point.revision);
    ASSERT_FALSE(state.changes.empty());
    ASSERT_EQ(state.changes.back().revision, state.point.revision);
    for (size_t i = 0; i < state.records.size(); ++i) {
      ASSERT_TRUE(state.records[i].starts_with(absl::StrCat(i, "@")));
    }
    const StoredChange& last = state.changes.back();
    ASSERT_EQ(state.records[std::stoul(last.fine_tune_id)], last.after);
  }
}

}  // namespace
}  // namespace finetune
