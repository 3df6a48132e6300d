#include "server/jobs/record/recent_intents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kId[] = "11111111-1111-4111-8111-111111111111";

record::Intent Submitted(const std::string& request_id, record::Intent::State state) {
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id(request_id);
  intent.set_fine_tune_id(kId);
  intent.set_state(state);
  intent.mutable_fine_tune()->set_display_name("cats");
  return intent;
}

std::vector<std::string> Told(const std::vector<record::Intent>& intents) {
  std::vector<std::string> told;
  for (const record::Intent& intent : intents)
    told.push_back(intent.request_id() + " " + record::Intent::State_Name(intent.state()));
  return told;
}

TEST(RecentIntents, TellsEachAsTheLatestCommitLeftIt) {
  RecentIntents recent;
  recent.Note(1, Submitted("a", record::Intent::PREPARED));
  recent.Note(2, Submitted("b", record::Intent::PREPARED));
  recent.Note(3, Submitted("a", record::Intent::ACCEPTED));
  EXPECT_THAT(Told(recent.After(0)), ElementsAre("a ACCEPTED", "b PREPARED"));
  EXPECT_THAT(Told(recent.After(2)), ElementsAre("a ACCEPTED"));
  EXPECT_THAT(recent.After(3), IsEmpty());
}

TEST(RecentIntents, KeepsWhatAFailoverLostForAnother) {
  RecentIntents recent;
  recent.Note(5, Submitted("a", record::Intent::PREPARED));
  recent.Note(9, Submitted("b", record::Intent::ACCEPTED));
  recent.GoBackTo(7);
  EXPECT_THAT(recent.After(7), IsEmpty()) << "they were brought back";
  recent.Note(8, Submitted("b", record::Intent::UNKNOWN));
  EXPECT_THAT(Told(recent.After(7)), ElementsAre("b UNKNOWN"));
  recent.GoBackTo(4);
  EXPECT_THAT(Told(recent.After(3)), ElementsAre("a PREPARED", "b UNKNOWN"));
}

TEST(RecentIntents, KeepsTheLatestTenThousand) {
  RecentIntents recent;
  for (int i = 0; i < 10'010; ++i)
    recent.Note(i, Submitted(std::to_string(i), record::Intent::PREPARED));
  const auto all = recent.After(0);
  EXPECT_EQ(all.size(), 10'000u);
  for (const record::Intent& intent : all) EXPECT_GE(std::stoi(intent.request_id()), 10);
}

TEST(CommonSeq, EndsWhereTheHistoriesPart) {
  const Lineage lineage({{.id = 7, .base_seq = 0}, {.id = 8, .base_seq = 40}});
  EXPECT_EQ(CommonSeq(lineage, {.era = 7, .seq = 30}, 90), 30u);
  EXPECT_EQ(CommonSeq(lineage, {.era = 7, .seq = 55}, 90), 40u);
  EXPECT_EQ(CommonSeq(lineage, {.era = 8, .seq = 80}, 90), 80u);
  // The database has lost what came after 90.
  EXPECT_EQ(CommonSeq(lineage, {.era = 8, .seq = 99}, 90), 90u);
  EXPECT_EQ(CommonSeq(lineage, {.era = 9, .seq = 99}, 90), 0u);
}

class BringBackTest : public ::testing::Test {
 protected:
  // What is recorded of request `a` once this was brought back.
  std::optional<record::Intent> After(const record::Intent& lost,
                                      const std::optional<record::Intent>& recorded = {}) {
    std::optional<record::Intent> found;
    EXPECT_TRUE(jobs_
                    .Run([&](Draft& draft) {
                      if (recorded) draft.PutIntent(*recorded);
                      const absl::Status status = BringBack(draft, lost, 5);
                      found = *draft.FindIntent("alice", "a");
                      return status;
                    })
                    .ok());
    return found;
  }
  JobsFixture jobs_;
};

TEST_F(BringBackTest, WhatMayHaveBeenSentIsUnknownUntilItIsFoundOut) {
  for (const auto state :
       {record::Intent::PREPARED, record::Intent::UNKNOWN, record::Intent::ACCEPTED}) {
    const auto found = After(Submitted("a", state));
    ASSERT_TRUE(found) << record::Intent::State_Name(state);
    EXPECT_EQ(found->state(), record::Intent::UNKNOWN) << record::Intent::State_Name(state);
    EXPECT_EQ(found->fine_tune_id(), kId);
    EXPECT_TRUE(found->brought_back());
  }
}

TEST_F(BringBackTest, WhatCameToNothingMayBeAskedForAnew) {
  EXPECT_FALSE(After(Submitted("a", record::Intent::REFUSED)));
  EXPECT_FALSE(After(Submitted("a", record::Intent::NOT_SUBMITTED)));
}

TEST_F(BringBackTest, WhatTheRecordKnowsGoesOnUnlessItWasAboutToBeSent) {
  EXPECT_EQ(
      After(Submitted("a", record::Intent::ACCEPTED), Submitted("a", record::Intent::PREPARED))
          ->state(),
      record::Intent::UNKNOWN);
  EXPECT_EQ(
      After(Submitted("a", record::Intent::PREPARED), Submitted("a", record::Intent::ACCEPTED))
          ->state(),
      record::Intent::ACCEPTED);
  record::Intent another = Submitted("a", record::Intent::PREPARED);
  another.set_fine_tune_id("22222222-2222-4222-8222-222222222222");
  EXPECT_EQ(After(Submitted("a", record::Intent::UNKNOWN), another)->fine_tune_id(),
            another.fine_tune_id());
}

}  // namespace
}  // namespace finetune
