#include "server/store/sqlite_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "server/base/uuid.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Files = SqliteSession::Files;

class SqliteSessionTest : public testing::Test {
 protected:
  SqliteSessionTest() : folder_(testing::TempDir() + "/session-" + MakeUuid()) {}
  ~SqliteSessionTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<SqliteSession> Open() {
    return SqliteSession::Open(path_, /*create=*/true).value();
  }
  absl::Status Refused(bool create = true) { return SqliteSession::Open(path_, create).status(); }
  static std::string Words(const absl::Status& status) { return std::string(status.message()); }

  const std::string folder_;
  const std::string path_ = folder_ + "/below/store.db";
};

TEST_F(SqliteSessionTest, MakesAFileWithItsFolderThatNobodyElseReads) {
  EXPECT_EQ(Refused(/*create=*/false).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(std::filesystem::exists(path_));
  const auto session = Open();
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600);
  EXPECT_EQ(session->meta.seq, 0);
  EXPECT_EQ(session->meta.epoch.size(), 16);
}

TEST_F(SqliteSessionTest, AFileHasOneSessionAtATimeAndIsFreeAfterIt) {
  auto session = Open();
  const std::string epoch = session->meta.epoch;
  EXPECT_THAT(Words(Refused()), AllOf(HasSubstr(path_), HasSubstr("in use by another process")));
  session.reset();
  EXPECT_EQ(Open()->meta.epoch, epoch);
}

TEST_F(SqliteSessionTest, WhatIsNoStoreIsLeftAsItIs) {
  std::filesystem::create_directories(folder_ + "/below");
  std::ofstream(path_) << "a diary, and a long one: " << std::string(4'000, 'x');
  const auto size = std::filesystem::file_size(path_);
  EXPECT_THAT(Words(Refused()), HasSubstr("is not an SQLite file"));
  EXPECT_EQ(std::filesystem::file_size(path_), size);
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_EQ(Refused().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SqliteSessionTest, AnotherProgramsDatabaseIsRefusedAndSoIsANewerForm) {
  std::filesystem::create_directories(folder_ + "/below");
  {
    SqliteConnection db;
    ASSERT_TRUE(db.Open(path_).ok());
    ASSERT_TRUE(db.Execute("CREATE TABLE recipes (name TEXT)").ok());
  }
  EXPECT_THAT(Words(Refused()), HasSubstr("an SQLite file of something else"));
  {
    SqliteConnection db;
    ASSERT_TRUE(db.Open(path_).ok());
    ASSERT_TRUE(db.Execute("PRAGMA user_version = 1000").ok());
  }
  EXPECT_THAT(Words(Refused()), HasSubstr("newer version (format 1000"));
}

TEST_F(SqliteSessionTest, AMetaRowThatWasChangedByHandIsDamage) {
  ASSERT_TRUE(Open()->db.Execute("UPDATE meta SET revision = 7").ok());
  const absl::Status refused = Refused();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Words(refused), AllOf(HasSubstr(path_), HasSubstr("put back the latest copy")));
}

TEST_F(SqliteSessionTest, ErasThatWereChangedByHandAreDamage) {
  auto session = Open();
  ASSERT_TRUE(session->ReadEras().ok());
  ASSERT_TRUE(session->db.Execute("UPDATE eras SET base_revision = 7").ok());
  EXPECT_EQ(session->ReadEras().status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(session->db.Execute("DELETE FROM eras").ok());
  EXPECT_EQ(session->ReadEras().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(SqliteSessionTest, OwnWritesLeaveTheFilesAsTheyWereNoted) {
  const auto session = Open();
  EXPECT_EQ(session->LookAtFiles(), Files::kAsLeft);
  ASSERT_TRUE(session->db.Execute("CREATE TABLE more (n INTEGER)").ok());
  EXPECT_EQ(session->LookAtFiles(), Files::kWrittenByOthers);
  session->NoteFiles();
  EXPECT_EQ(session->LookAtFiles(), Files::kAsLeft);
  EXPECT_TRUE(session->CheckStructure().ok());
}

TEST_F(SqliteSessionTest, TellsAFileThatIsGoneFromALogThatIsGone) {
  const auto session = Open();
  ASSERT_TRUE(session->db.Execute("CREATE TABLE more (n INTEGER)").ok());
  session->NoteFiles();
  std::filesystem::rename(path_ + "-wal", folder_ + "/log");
  EXPECT_EQ(session->LookAtFiles(), Files::kLogRemoved);
  std::filesystem::rename(folder_ + "/log", path_ + "-wal");
  EXPECT_EQ(session->LookAtFiles(), Files::kAsLeft);
  std::filesystem::rename(path_, folder_ + "/elsewhere");
  EXPECT_EQ(session->LookAtFiles(), Files::kTaken);
  // One of the same name is another file, which noting does not change.
  std::filesystem::copy_file(folder_ + "/elsewhere", path_);
  session->NoteFiles();
  EXPECT_EQ(session->LookAtFiles(), Files::kTaken);
}

TEST_F(SqliteSessionTest, SavingTheLogEmptiesIt) {
  const auto session = Open();
  ASSERT_TRUE(session->db.Execute("CREATE TABLE more (n INTEGER)").ok());
  ASSERT_GT(std::filesystem::file_size(path_ + "-wal"), 0);
  ASSERT_TRUE(session->SaveLog().ok());
  EXPECT_EQ(std::filesystem::file_size(path_ + "-wal"), 0);
}

TEST_F(SqliteSessionTest, ClosingLeavesTheFilesAloneIfItIsToldTo) {
  auto session = Open();
  ASSERT_TRUE(session->db.Execute("CREATE TABLE more (n INTEGER)").ok());
  const auto size = std::filesystem::file_size(path_);
  session->LeaveFilesAlone();
  session.reset();
  EXPECT_EQ(std::filesystem::file_size(path_), size);
  EXPECT_TRUE(std::filesystem::exists(path_ + "-wal"));
}

}  // namespace
}  // namespace finetune
