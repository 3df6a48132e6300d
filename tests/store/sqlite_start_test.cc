#include "server/store/sqlite_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "server/base/error.h"
#include "server/base/uuid.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A record whose files come and go.
class SqliteStartTest : public testing::Test {
 protected:
  SqliteStartTest() : folder_(absl::StrCat(testing::TempDir(), "/start-", MakeUuid())) {
    std::filesystem::create_directories(folder_);
    path_ = folder_ + "/store.db";
  }
  ~SqliteStartTest() override { std::filesystem::remove_all(folder_); }

  // Starts on the file; the store is empty if that is refused.
  absl::StatusOr<StoreState> Start(bool accept = false) {
    store_.reset();
    auto opened = OpenSqliteStore(path_, {.accept_lost_record = accept});
    if (!opened.ok()) return opened.status();
    store_ = *std::move(opened);
    auto state = store_->Load();
    if (!state.ok()) store_.reset();
    return state;
  }
  // One commit of an intent, and a change if there is a job.
  absl::Status Commit(const std::string& request_id, const std::string& job = "") {
    StoreBatch batch;
    record::Intent intent;
    intent.set_caller("c");
    intent.set_request_id(request_id);
    intent.set_state(record::Intent::ACCEPTED);
    batch.put_intents = {intent};
    if (!job.empty()) {
      ++revision_;
      batch.changes = {{revision_, absl::UnixEpoch(), job, "bytes of " + job, ""}};
    }
    return store_->Commit(batch).why;
  }
  static constexpr int kMany = 300;
  absl::Status CommitMany(const std::string& name) {
    StoreBatch batch;
    for (int i = 0; i < kMany; ++i) {
      const std::string id = absl::StrCat(name, i);
      record::Intent& intent = batch.put_intents.emplace_back();
      intent.set_caller("c");
      intent.set_request_id(id);
      intent.set_state(i % 3 == 0 ? record::Intent::UNKNOWN : record::Intent::ACCEPTED);
      batch.changes.push_back({++revision_, absl::UnixEpoch(), id, std::string(300, 'x') + id, ""});
    }
    return store_->Commit(batch).why;
  }
  bool Knows(const std::string& request_id) {
    return store_->FindIntent("c", request_id).value().has_value();
  }
  // The files as a kill leaves them: what is in memory is gone, and nothing is tidied up.
  void Kill() {
    const std::string kept = folder_ + "/kept";
    CopyTo(kept);
    store_.reset();
    PutBack(kept);
  }
  // Copies of the files, with their times, as they are now.
  void CopyTo(const std::string& copy) {
    std::filesystem::create_directories(copy);
    for (const char* file : {"", "-wal", "-mark"}) {
      if (std::filesystem::exists(path_ + file))
        std::filesystem::copy_file(path_ + file, copy + "/f" + file);
    }
  }
  void PutBack(const std::string& copy) {
    for (const char* file : {"", "-wal", "-mark"}) {
      std::filesystem::remove(path_ + file);
      if (std::filesystem::exists(copy + "/f" + file))
        std::filesystem::rename(copy + "/f" + file, path_ + file);
    }
    std::filesystem::remove_all(copy);
  }
  // The mark says that the file is as this gateway left it.
  void TakeFileForOwn() {
    MarkFile file(path_ + "-mark");
    StoreMark mark = *file.Read();
    mark.file = FileStamp::Of(path_);
    ASSERT_TRUE(file.Write(mark).ok());
  }

  std::string folder_;
  std::string path_;
  std::unique_ptr<Store> store_;
  uint64_t revision_ = 0;
};

TEST_F(SqliteStartTest, EachStartBeginsAnEraAndLosesNoPoint) {
  std::vector<StorePoint> points;
  for (int i = 0; i < 5; ++i) {
    auto state = Start();
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_EQ(state->lost, "");
    for (const StorePoint& point : points) {
      EXPECT_NE(point.era, state->point.era);
      EXPECT_TRUE(state->lineage.HasRevision(point.era, point.revision, state->point.revision));
      EXPECT_FALSE(
          state->lineage.HasRevision(point.era, point.revision + 1, state->point.revision + 10));
    }
    ASSERT_TRUE(Commit(std::to_string(i), "job" + std::to_string(i)).ok());
    points.push_back({.era = state->point.era, .revision = revision_});
    if (i % 2 == 0) Kill();
  }
}

TEST_F(SqliteStartTest, ACopyThatIsPutBackIsAnotherHistory) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  store_.reset();
  CopyTo(folder_ + "/copy");
  const StorePoint before = Start()->point;
  ASSERT_TRUE(Commit("2", "b").ok());
  const uint64_t lost = revision_;
  store_.reset();
  PutBack(folder_ + "/copy");

  auto state = Start();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->point.revision, 1u);
  EXPECT_FALSE(state->lineage.HasRevision(before.era, lost, 100));
  EXPECT_FALSE(Knows("2"));
}

TEST_F(SqliteStartTest, ACopyOfTheWorkingFilesThatIsPutBackIsAnotherHistory) {
  const StorePoint start = Start()->point;
  ASSERT_TRUE(Commit("1", "a").ok());
  CopyTo(folder_ + "/copy");
  ASSERT_TRUE(Commit("2", "b").ok());
  store_.reset();
  PutBack(folder_ + "/copy");
  auto state = Start();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_TRUE(state->lineage.HasRevision(start.era, 1, 1));
  EXPECT_FALSE(state->lineage.HasRevision(start.era, 2, 2)) << "though the numbers come again";
}

TEST_F(SqliteStartTest, AnOlderCopyBesideANewerMarkIsServedAndSaysWhatItLacks) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  store_.reset();
  std::filesystem::copy_file(path_, path_ + ".copy");
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("2").ok());
  store_.reset();
  std::filesystem::rename(path_ + ".copy", path_);
  for (int i = 0; i < 2; ++i) {
    auto state = Start();
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_THAT(state->lost, AllOf(HasSubstr(path_), HasSubstr("--accept_lost_record")))
        << "until somebody has said so";
    EXPECT_TRUE(Commit("3").ok());
  }
  EXPECT_EQ(Start(/*accept=*/true)->lost, "");
  EXPECT_EQ(Start()->lost, "") << "said once";
}

TEST_F(SqliteStartTest, ALogThatWasRemovedAfterAKillIsNoticed) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  Kill();
  std::filesystem::remove(path_ + "-wal");
  TakeFileForOwn();
  for (int i = 0; i < 2; ++i) {
    const absl::Status refused = Start().status();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr(path_), HasSubstr("-wal"), HasSubstr("--accept_lost_record")));
  }
  auto state = Start(/*accept=*/true);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_FALSE(Knows("1"));
  EXPECT_TRUE(Start().ok()) << "said once";
}

TEST_F(SqliteStartTest, ALogThatWasCutOrScribbledOnIsNoticed) {
  for (const bool cut : {true, false}) {
    ASSERT_TRUE(Start(/*accept=*/true).ok());
    ASSERT_TRUE(Commit("1").ok());
    ASSERT_TRUE(Commit("2").ok());
    Kill();
    TakeFileForOwn();
    const std::string log = path_ + "-wal";
    const auto size = std::filesystem::file_size(log);
    if (cut) {
      std::filesystem::resize_file(log, size - 100);
    } else {
      std::fstream file(log, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(size / 2));
      file << std::string(64, 'x');
    }
    EXPECT_TRUE(absl::IsFailedPrecondition(Start().status())) << Start().status();
  }
}

TEST_F(SqliteStartTest, ARecordThatIsMissingOrEmptyIsNoticed) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  store_.reset();
  for (const bool empty : {false, true}) {
    std::filesystem::remove(path_);
    if (empty) std::ofstream(path_).close();
    const absl::Status refused = Start().status();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr(empty ? "is empty" : "is missing"), HasSubstr(path_),
                      HasSubstr("--accept_lost_record")));
  }
  ASSERT_TRUE(Start(/*accept=*/true).ok());
  ASSERT_TRUE(Start().ok());
}

TEST_F(SqliteStartTest, AnEmptyMarkSaysNothing) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  store_.reset();
  std::ofstream(path_ + "-mark").close();
  EXPECT_TRUE(Start().ok());
  EXPECT_TRUE(Knows("1"));
}

TEST_F(SqliteStartTest, ALogThatIsRemovedWhileInUseLosesNothing) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  std::filesystem::remove(path_ + "-wal");
  const absl::Status refused = Commit("2");
  EXPECT_EQ(ReasonOf(refused), pb::ErrorReason::STORE_UNAVAILABLE) << refused;
  EXPECT_TRUE(Commit("3").ok()) << "the next one goes to a new log";
  Kill();
  ASSERT_TRUE(Start().ok());
  EXPECT_TRUE(Knows("1"));
  EXPECT_FALSE(Knows("2"));
  EXPECT_TRUE(Knows("3"));
}

TEST_F(SqliteStartTest, ALogThatIsRemovedBeforeAStopLosesNothing) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  std::filesystem::remove(path_ + "-wal");
  ASSERT_TRUE(Start().ok());
  EXPECT_TRUE(Knows("1"));
}

TEST_F(SqliteStartTest, FilesThatSomebodyWritesToWhileInUseAreNotWrittenAnyMore) {
  for (const char* file : {"-wal", ""}) {
    ASSERT_TRUE(Start(/*accept=*/true).ok());
    ASSERT_TRUE(Commit("1").ok());
    std::ofstream(path_ + file, std::ios::app) << "x";
    EXPECT_EQ(ReasonOf(Commit("2")), pb::ErrorReason::STORE_UNAVAILABLE);
    EXPECT_EQ(ReasonOf(Commit("3")), pb::ErrorReason::STORE_UNAVAILABLE) << "for good";
    EXPECT_FALSE(store_->FindIntent("c", "1").ok()) << "nor read";
    EXPECT_FALSE(store_->CheckWritable().ok());
  }
}

TEST_F(SqliteStartTest, ACopyThatIsMovedInPlaceWhileInUseIsServedByTheNextStart) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("1", "a").ok());
  CopyTo(folder_ + "/copy");
  const StorePoint point{.era = Start()->point.era, .revision = 2};
  ASSERT_TRUE(Commit("2", "b").ok());
  // With the log, as a copy of a working record has it.
  PutBack(folder_ + "/copy");
  EXPECT_EQ(ReasonOf(Commit("3")), pb::ErrorReason::STORE_UNAVAILABLE);
  auto state = Start();
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->point.revision, 1u) << "the stop left what was put there alone";
  EXPECT_FALSE(state->lineage.HasRevision(point.era, point.revision, 100));
}

TEST_F(SqliteStartTest, PartsOfTwoCopiesAreNotTakenForOneRecord) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(CommitMany("old").ok());
  store_.reset();
  std::filesystem::copy_file(path_, path_ + ".copy");
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(CommitMany("new").ok());
  // All of that to the file; then a log with a little beside it.
  store_.reset();
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(Commit("last").ok());
  Kill();
  std::filesystem::rename(path_ + ".copy", path_);
  const absl::Status refused = Start().status();
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
}

// What can be asked of a record.
struct Content {
  std::vector<std::string> records;
  std::vector<std::string> changes;
  std::vector<std::string> intents;
  int64_t creates = 0;
  uint64_t revision = 0;
  bool operator==(const Content&) const = default;
};

class BitFlips : public SqliteStartTest {
 protected:
  static Content ContentOf(const StoreState& state, Store& store) {
    Content content{.records = state.records, .revision = state.point.revision};
    for (const StoredChange& change : state.changes)
      content.changes.push_back(absl::StrCat(change.fine_tune_id, change.before, change.after));
    for (int i = 0; i < kMany; ++i) {
      auto intent = store.FindIntent("c", absl::StrCat("x", i));
      content.intents.push_back(intent.ok() && *intent ? (*intent)->SerializeAsString()
                                                       : intent.status().ToString());
    }
    auto creates = store.CountCreates("c", absl::InfinitePast());
    content.creates = creates.ok() ? creates->count : -1;
    return content;
  }
};

TEST_F(BitFlips, AreNoticedOrHitWhatIsNotUsed) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(CommitMany("x").ok());
  auto before = Start();
  ASSERT_TRUE(before.ok());
  const Content content = ContentOf(*before, *store_);
  ASSERT_EQ(content.creates, kMany);
  store_.reset();
  CopyTo(folder_ + "/whole");
  std::mt19937 random(5);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::filesystem::remove(path_ + "-wal");
    for (const char* file : {"", "-mark"}) {
      std::filesystem::copy_file(folder_ + "/whole/f" + file, path_ + file,
                                 std::filesystem::copy_options::overwrite_existing);
    }
    // Now and then where it hurts: in the first page.
    const auto size = std::filesystem::file_size(path_);
    const uint64_t within = random() % 4 == 0 ? 4096 : size;
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    std::string flips;
    for (size_t bits = 1 + random() % 10; bits > 0; --bits) {
      const auto at = static_cast<std::streamoff>(random() % within);
      const auto bit = static_cast<char>(1 << random() % 8);
      file.seekg(at);
      const char byte = static_cast<char>(file.get() ^ bit);
      file.seekp(at);
      file.put(byte);
      absl::StrAppend(&flips, " ", at, "^", int{bit});
    }
    file.close();
    auto after = Start();
    if (after.ok()) {
      EXPECT_EQ(ContentOf(*after, *store_), content) << flips;
    } else {
      ++refused;
      EXPECT_THAT(std::string(after.status().message()), HasSubstr(path_)) << flips;
    }
  }
  EXPECT_GT(refused, 50);
}

TEST_F(BitFlips, InTheLogAreNoticed) {
  ASSERT_TRUE(Start().ok());
  ASSERT_TRUE(CommitMany("x").ok());
  const Content content = ContentOf(store_->Load().value(), *store_);
  Kill();
  TakeFileForOwn();
  CopyTo(folder_ + "/whole");
  std::mt19937 random(6);
  for (int round = 0; round < 100; ++round) {
    for (const char* file : {"", "-mark", "-wal"}) {
      std::filesystem::copy_file(folder_ + "/whole/f" + file, path_ + file,
                                 std::filesystem::copy_options::overwrite_existing);
    }
    TakeFileForOwn();
    std::fstream file(path_ + "-wal", std::ios::in | std::ios::out | std::ios::binary);
    const auto at =
        static_cast<std::streamoff>(random() % std::filesystem::file_size(path_ + "-wal"));
    file.seekg(at);
    const char byte = static_cast<char>(file.get() ^ static_cast<char>(1 << random() % 8));
    file.seekp(at);
    file.put(byte);
    file.close();
    auto after = Start();
    if (after.ok()) {
      EXPECT_EQ(ContentOf(*after, *store_), content) << at;
    } else {
      EXPECT_THAT(std::string(after.status().message()), HasSubstr(path_)) << at;
    }
  }
}

}  // namespace
}  // namespace finetune
