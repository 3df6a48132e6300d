#include "server/store/copy_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/store/sqlite_copy.h"
#include "server/store/sqlite_store.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Between files; to a database and back: postgres_store_test.cc.
class CopyStoreTest : public ::testing::Test {
 protected:
  CopyStoreTest() { std::filesystem::create_directories(folder_); }
  ~CopyStoreTest() override { std::filesystem::remove_all(folder_); }

  StorePlace At(const std::string& name) const {
    return {.sqlite_path = folder_ + "/" + name, .database = {}};
  }
  static std::string WordsOf(const absl::Status& status) { return std::string(status.message()); }
  absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& name) {
    return OpenSqliteStore(At(name).sqlite_path);
  }
  // One job, in two changes, and what was submitted for it.
  void Fill(const std::string& name) {
    auto store = Open(name);
    ASSERT_TRUE(store.ok()) << store.status();
    auto state = (*store)->Load();
    ASSERT_TRUE(state.ok()) << state.status();
    ASSERT_TRUE((*store)->Begin(state->point, {}).ok());
    record::FineTuneRecord job;
    job.mutable_fine_tune()->set_name("fineTunes/a");
    job.set_first_revision(1);
    job.mutable_fine_tune()->set_revision(1);
    const std::string first = job.SerializeAsString();
    job.mutable_fine_tune()->set_revision(2);
    const std::string second = job.SerializeAsString();
    record::Intent intent;
    intent.set_caller("alice");
    intent.set_request_id("r");
    intent.set_state(record::Intent::UNKNOWN);
    *intent.mutable_create_time() = ToProto(absl::FromUnixSeconds(1'000));
    ASSERT_EQ((*store)
                  ->Commit({.changes = {{1, absl::UnixEpoch(), "a", first, ""},
                                        {2, absl::UnixEpoch(), "a", second, first}},
                            .put_intents = {intent}})
                  .kind,
              CommitOutcome::Kind::kWritten);
  }

  const std::string folder_ = testing::TempDir() + "/copy-" + MakeUuid();
};

TEST_F(CopyStoreTest, BringsAllOfItToTheNewPlace) {
  Fill("old.db");
  StoreState before;
  {
    auto store = Open("old.db");
    ASSERT_TRUE(store.ok());
    before = *(*store)->Load();
  }
  ASSERT_EQ(CopyStore(At("old.db"), At("new.db")), absl::OkStatus());
  auto store = Open("new.db");
  ASSERT_TRUE(store.ok()) << store.status();
  const auto after = (*store)->Load();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->epoch, before.epoch);
  EXPECT_EQ(after->marker_key, before.marker_key);
  EXPECT_EQ(after->point.revision, 2u);
  EXPECT_EQ(after->records, before.records);
  EXPECT_EQ(after->changes.size(), 2u);
  ASSERT_EQ(after->unsettled_intents.size(), 1u);
  EXPECT_EQ(after->unsettled_intents[0].request_id(), "r");
  // Tokens of the old place go on.
  EXPECT_TRUE(after->lineage.HasRevision(before.point.era, 2, 2));
}

TEST_F(CopyStoreTest, NothingStartsOnTheOldPlaceAnyMore) {
  Fill("old.db");
  ASSERT_EQ(CopyStore(At("old.db"), At("new.db")), absl::OkStatus());
  EXPECT_THAT(WordsOf(Open("old.db").status()), HasSubstr("was moved"));
  EXPECT_THAT(WordsOf(Open("old.db").status()), HasSubstr("new.db"));
  EXPECT_THAT(WordsOf(CopyStore(At("old.db"), At("newer.db"))), HasSubstr("was moved"));
}

TEST_F(CopyStoreTest, AMoveThatWasInterruptedIsFinishedByTheSameOneAndNoOther) {
  const auto interrupt = [&](const std::string& to) {
    auto source = OpenSqliteSource(At("old.db").sqlite_path).value();
    EXPECT_TRUE(source->MarkUnderWay("sqlite:" + At(to).sqlite_path).ok());
  };
  Fill("old.db");
  // Before anything was there.
  interrupt("new.db");
  EXPECT_THAT(WordsOf(Open("old.db").status()), HasSubstr("run copy-store"));
  EXPECT_THAT(WordsOf(CopyStore(At("old.db"), At("newer.db"))), HasSubstr("new.db"));
  EXPECT_EQ(CopyStore(At("old.db"), At("new.db")), absl::OkStatus());
  EXPECT_THAT(WordsOf(Open("old.db").status()), HasSubstr("was moved"));
  // After all of it was there, and a gateway has gone on with it since.
  std::filesystem::rename(At("new.db").sqlite_path, At("old.db").sqlite_path);
  std::filesystem::remove(At("old.db").sqlite_path + "-mark");
  std::filesystem::copy_file(At("old.db").sqlite_path, At("new.db").sqlite_path);
  interrupt("new.db");
  EXPECT_TRUE(Open("new.db").ok());
  EXPECT_EQ(CopyStore(At("old.db"), At("new.db")), absl::OkStatus());
  EXPECT_THAT(WordsOf(Open("old.db").status()), HasSubstr("was moved"));
  EXPECT_EQ((*Open("new.db"))->Load()->point.revision, 2u);
}

TEST_F(CopyStoreTest, AMoveThatFailsLeavesTheRecordToItsGateways) {
  Fill("old.db");
  Fill("other.db");
  EXPECT_FALSE(CopyStore(At("old.db"), At("other.db")).ok());
  EXPECT_TRUE(Open("old.db").ok());
  std::filesystem::create_directory(At("folder").sqlite_path);
  EXPECT_FALSE(CopyStore(At("old.db"), At("folder")).ok());
  EXPECT_TRUE(Open("old.db").ok());
  EXPECT_EQ(CopyStore(At("old.db"), At("new.db")), absl::OkStatus());
}

TEST_F(CopyStoreTest, OverwritesNoRecordAndMovesNoneThatIsInUse) {
  Fill("old.db");
  Fill("other.db");
  EXPECT_FALSE(CopyStore(At("old.db"), At("other.db")).ok());
  EXPECT_FALSE(CopyStore(At("old.db"), At("old.db")).ok());
  {
    const auto in_use = Open("old.db");
    ASSERT_TRUE(in_use.ok());
    EXPECT_FALSE(CopyStore(At("old.db"), At("new.db")).ok());
  }
  // What was not moved starts as before.
  for (const char* name : {"old.db", "other.db"}) {
    auto store = Open(name);
    ASSERT_TRUE(store.ok()) << name << store.status();
    EXPECT_EQ((*store)->Load()->point.revision, 2u);
  }
}

TEST_F(CopyStoreTest, MakesNoRecordOfAPlaceThatHasNone) {
  std::ofstream(At("empty.db").sqlite_path);
  for (const char* name : {"missing.db", "empty.db", "no/folder.db"}) {
    EXPECT_THAT(WordsOf(CopyStore(At(name), At("new.db"))), HasSubstr("there is no record at"))
        << name;
    EXPECT_FALSE(std::filesystem::exists(At("new.db").sqlite_path)) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(At("missing.db").sqlite_path));
}

}  // namespace
}  // namespace finetune
