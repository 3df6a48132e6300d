#include "server/store/postgres_members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/store/prepared_database.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PostgresMembersTest : public PreparedDatabase {
 protected:
  // What `me` sees when it is about to join.
  JoinLook Look(const std::string& me) {
    const JoinLook look = JoinLookOf(AskAll(JoinQuestions(me))).value();
    Execute("ROLLBACK");
    return look;
  }
  void Join(const std::string& me) {
    Write(MemberQueries(me, me + "'s pod", absl::Seconds(8), absl::Minutes(1)));
  }
  void BeginEra(absl::Duration caution) {
    Write(EraQueries(Look("anybody").point, "server", "a reason", caution));
  }
  std::vector<std::string> Awaited() {
    return Texts(
        "SELECT unnest(awaits) FROM finetune.eras WHERE era = (SELECT era FROM "
        "finetune.meta) ORDER BY 1");
  }
};

TEST_F(PostgresMembersTest, AnEraBeginsWithACommitAfterThePoint) {
  const JoinLook before = Look("a");
  EXPECT_EQ(before.epoch, "epoch");
  EXPECT_FALSE(before.marker_key.empty());
  EXPECT_EQ(before.point.era, 0u);
  BeginEra(absl::ZeroDuration());
  const JoinLook after = Look("a");
  EXPECT_NE(after.point.era, 0u);
  EXPECT_EQ(after.point.seq, before.point.seq + 1);
  EXPECT_EQ(after.point.revision, before.point.revision);
  EXPECT_EQ(after.server, "server");
  EXPECT_THAT(Texts("SELECT why FROM finetune.eras ORDER BY number DESC LIMIT 1"),
              ElementsAre("a reason"));
}

TEST_F(PostgresMembersTest, AMemberLivesUntilItLeaves) {
  EXPECT_FALSE(Look("a").somebody_lives);
  Join("a");
  EXPECT_TRUE(Look("b").somebody_lives);
  AskAll({LeaveQuery("a")});
  EXPECT_FALSE(Look("b").somebody_lives);
  EXPECT_TRUE(Look("a").i_am_a_member) << "it left in order";
}

TEST_F(PostgresMembersTest, AMemberThatWasTakenOverFromLearnsIt) {
  Join("a");
  Join("b");
  Write(WriterQueries({.ended_members = {"a"}}, {.by = "b", .number = 1, .names = {"b"}}));
  EXPECT_FALSE(Look("a").i_am_a_member);
  EXPECT_TRUE(Look("b").i_am_a_member);
  EXPECT_FALSE(Look("c").i_am_a_member) << "it never joined";
}

TEST_F(PostgresMembersTest, ABatchIsOfTheNameThatWroteIt) {
  Join("old");
  Join("new");
  Write(WriterQueries({}, {.era = 7, .by = "new", .number = 3, .names = {"old", "new"}}));
  EXPECT_THAT(Texts("SELECT id || last_batch || ' ' || seen_era FROM finetune.members ORDER BY 1"),
              ElementsAre("new3 7", "old0 7"));
}

TEST_F(PostgresMembersTest, WhereCommitsMayBeGoneAllWhoMayHaveMadeThemAreAwaited) {
  Join("a");
  Join("b");
  Join("left");
  AskAll({LeaveQuery("left")});
  BeginEra(absl::ZeroDuration());
  EXPECT_THAT(Awaited(), IsEmpty());
  BeginEra(absl::Minutes(3));
  EXPECT_THAT(Awaited(), ElementsAre("a", "b"));
  const uint64_t era = Look("a").point.era;
  Write(WriterQueries({.has_lost = true}, {.era = era, .by = "a", .number = 1, .names = {"a"}}));
  EXPECT_THAT(Awaited(), ElementsAre("", "a", "b")) << "nobody's commits end that";
  Write(
      WriterQueries({.ends_caution = true}, {.era = era, .by = "a", .number = 2, .names = {"a"}}));
  EXPECT_THAT(Awaited(), IsEmpty());
}

}  // namespace
}  // namespace finetune
