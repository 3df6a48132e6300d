#include "server/store/postgres_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/store/prepared_database.h"
#include "tests/store/sample_rows.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PostgresBatch, OneThatChangesNothingHasNoStatements) {
  EXPECT_THAT(BatchQueries({}, {}), IsEmpty());
}

TEST(PostgresBatch, AThousandChangesTakeAsManyStatementsAsOne) {
  const auto count = [](int changes) {
    StoreBatch batch;
    for (int i = 1; i <= changes; ++i) {
      batch.changes.push_back(Change(i, std::to_string(i), "bytes"));
      batch.put_intents.push_back(MakeIntent(std::to_string(i), record::Intent::UNKNOWN));
    }
    return BatchQueries(batch, {}).size();
  };
  EXPECT_EQ(count(1'000), count(1));
}

class PostgresBatchTest : public PreparedDatabase {
 protected:
  void Write(const StoreBatch& batch) {
    PreparedDatabase::Write(BatchQueries(batch, {.seq = seq_++}));
  }
  std::vector<std::string> Jobs() {
    return Texts(
        "SELECT concat_ws(' ', id, first_revision, revision, encode(record, 'escape')) FROM "
        "finetune.fine_tunes ORDER BY first_revision");
  }
  std::vector<std::string> Changes() {
    return Texts(
        "SELECT concat_ws(' ', revision, seq, encode(after, 'escape'), encode(before, "
        "'escape')) FROM finetune.changes ORDER BY revision");
  }
  std::vector<std::string> Intents() {
    return Texts("SELECT concat_ws(' ', request_id, state, seq) FROM finetune.intents ORDER BY 1");
  }

  uint64_t seq_ = 0;
};

TEST_F(PostgresBatchTest, AJobsRowIsWhatItsLatestChangeMadeOfIt) {
  Write({.changes = {Change(1, "a", "a1"), Change(2, "b", "b2"), Change(3, "a", "a3", "a1")}});
  EXPECT_THAT(Jobs(), ElementsAre("a 1 3 a3", "b 2 2 b2"));
  Write({.changes = {Change(4, "b", "b4", "b2"), Change(5, "b", "b5", "b4")}});
  EXPECT_THAT(Jobs(), ElementsAre("a 1 3 a3", "b 2 5 b5"));
  EXPECT_THAT(Changes(), ElementsAre("1 1 a1", "2 1 b2", "3 1 a3 a1", "4 2 b4 b2", "5 2 b5 b4"));
}

TEST_F(PostgresBatchTest, AForgottenJobGoesAndMayBeMadeAnewInTheSameCommit) {
  Write({.changes = {Change(1, "a", "a1"), Change(2, "b", "b2")}});
  Write({.changes = {Change(3, "a", "a1", "a1", /*forgotten=*/true),
                     Change(4, "b", "b2", "b2", /*forgotten=*/true), Change(5, "b", "b5")}});
  EXPECT_THAT(Jobs(), ElementsAre("b 5 5 b5"));
}

TEST_F(PostgresBatchTest, ChangesThatNobodyResumesFromAreNotKept) {
  Write({.changes = {Change(1, "a", "a1"), Change(2, "a", "a2", "a1")}});
  Write({.changes = {Change(3, "a", "a3", "a2"), Change(4, "a", "a4", "a3")},
         .forget_changes_through = 3});
  EXPECT_THAT(Changes(), ElementsAre("4 2 a4 a3"));
  EXPECT_THAT(Jobs(), ElementsAre("a 1 4 a4"));
}

TEST_F(PostgresBatchTest, ChangesThatWentBeforeAreNotLookedFor) {
  Write(
      {.changes = {Change(1, "a", "a1"), Change(2, "a", "a2", "a1"), Change(3, "a", "a3", "a2")}});
  Write({.forget_changes_through = 2, .forget_changes_after = 1});
  EXPECT_THAT(Changes(), ElementsAre("1 1 a1", "3 1 a3 a2"));
}

TEST_F(PostgresBatchTest, AnIntentIsReplacedByItsNextStateAndForgottenAfterItsEnd) {
  const absl::Time ended = absl::FromUnixSeconds(100);
  Write({.put_intents = {MakeIntent("open", record::Intent::UNKNOWN),
                         MakeIntent("taken", record::Intent::UNKNOWN),
                         MakeIntent("refused", record::Intent::REFUSED, ended)}});
  Write({.put_intents = {MakeIntent("taken", record::Intent::ACCEPTED, ended)}});
  EXPECT_THAT(Intents(), ElementsAre("open 2 1", "refused 5 1", "taken 3 2"));
  // To the nanosecond: one that ended just then stays.
  Write({.forget_refusals_before = ended});
  EXPECT_THAT(Intents(), ElementsAre("open 2 1", "refused 5 1", "taken 3 2"));
  Write({.forget_refusals_before = ended + absl::Nanoseconds(1)});
  EXPECT_THAT(Intents(), ElementsAre("open 2 1", "taken 3 2"));
  // What has no end is never forgotten.
  Write({.forget_intents_before = ended + absl::Hours(1)});
  EXPECT_THAT(Intents(), ElementsAre("open 2 1"));
}

}  // namespace
}  // namespace finetune
