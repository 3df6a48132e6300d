#include "server/jobs/tracking/list_reading.h"

#include "server/jobs/record/marker.h"
#include "server/jobs/record/settle.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using pb::FineTune;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kTime = absl::FromUnixSeconds(1'700'000'000);

UpstreamJob Item(const std::string& id, const std::string& status, const std::string& name = "n") {
  UpstreamJob item;
  item.id = id;
  item.status = status;
  item.name = name;
  return item;
}

class ListReadingTest : public ::testing::Test {
 protected:
  ListReading ReadingOf(std::vector<UpstreamJob> items) {
    ListReading reading;
    reading.read = ++reads_;
    reading.ended = ++reads_;
    reading.time = kTime;
    reading.items = std::move(items);
    reading.hinted = hinted_;
    reading.has = [](const std::string&) { return true; };
    return reading;
  }
  ListOutcome Record(std::vector<UpstreamJob> items) { return Record(ReadingOf(std::move(items))); }
  ListOutcome Record(const ListReading& reading) {
    ListOutcome outcome;
    EXPECT_TRUE(jobs_.Run([&](Draft& draft) { return RecordList(reading, draft, outcome); }).ok());
    return outcome;
  }
  FineTune Job(const std::string& upstream_id) {
    const VersionPtr version = jobs_.catalog.FindUpstream(upstream_id);
    return version == nullptr ? FineTune() : ToRecord(*version).fine_tune();
  }
  // A submission whose answer is awaited.
  record::Intent Begin() {
    record::Intent intent;
    intent.set_caller("alice");
    intent.set_request_id("r");
    intent.set_fine_tune_id("lost");
    intent.set_state(record::Intent::PREPARED);
    intent.set_marker(MakeMarker("key", "alice", "r", 0));
    intent.mutable_fine_tune()->set_display_name("cats");
    Run([&](Draft& draft) { draft.PutIntent(intent); });
    return intent;
  }
  // One whose answer was lost.
  record::Intent Lose() {
    const record::Intent intent = Begin();
    Run([&](Draft& draft) { BecomeUnknown(draft, intent, "lost", 0); });
    return intent;
  }
  void Run(const std::function<void(Draft&)>& mutate) {
    EXPECT_TRUE(jobs_
                    .Run([&](Draft& draft) {
                      mutate(draft);
                      return absl::OkStatus();
                    })
                    .ok());
  }

  JobsFixture jobs_;
  uint64_t reads_ = 0;
  absl::flat_hash_map<std::string, absl::Time> hinted_;
};

TEST_F(ListReadingTest, MakesARecordOfAJobFromElsewhereAndWantsItsDetails) {
  const ListOutcome outcome = Record({Item("a", "TRAINING", "cats")});
  EXPECT_EQ(Job("a").display_name(), "cats");
  EXPECT_EQ(Job("a").state(), FineTune::TRAINING);
  EXPECT_THAT(outcome.incomplete, ElementsAre("a"));
  EXPECT_THAT(outcome.candidates, IsEmpty());
}

TEST_F(ListReadingTest, WantsTheDetailsOfAJobThatHasJustComeToAStateWithWeights) {
  Record({Item("a", "TRAINING")});
  EXPECT_THAT(Record({Item("a", "AVAILABLE")}).pending, ElementsAre("a"));
  EXPECT_THAT(Record({Item("a", "AVAILABLE", "renamed")}).pending, IsEmpty());
}

TEST_F(ListReadingTest, DoesNotTakeAListsWordThatAJobWhichHadEndedGoesOn) {
  Record({Item("a", "FAILED")});
  EXPECT_THAT(Record({Item("a", "TRAINING")}).doubtful, ElementsAre("a"));
  EXPECT_EQ(Job("a").state(), FineTune::FAILED);
}

TEST_F(ListReadingTest, WantsTheDetailsOfAJobThatANewerReadShowedOtherwise) {
  reads_ = 10;
  Record({Item("a", "TRAINING")});
  reads_ = 0;
  EXPECT_THAT(Record({Item("a", "QUEUED")}).stale, ElementsAre("a"));
  EXPECT_EQ(Job("a").state(), FineTune::TRAINING);
}

TEST_F(ListReadingTest, SaysThatAWebhookHadHintedAtAJob) {
  hinted_["a"] = kTime - absl::Seconds(1);
  EXPECT_THAT(Record({Item("a", "TRAINING")}).hint_times, ElementsAre(kTime - absl::Seconds(1)));
  EXPECT_EQ(Job("a").transitions(0).source(), pb::StateTransition::WEBHOOK);
}

TEST_F(ListReadingTest, WhatMayBeASubmissionAndHasNoRoomProvesNoAbsence) {
  Lose();
  std::vector<UpstreamJob> items;
  for (int i = 0; i < 60; ++i) items.push_back(Item(absl::StrCat("a", i), "QUEUED", "cats"));
  ListReading reading = ReadingOf(items);
  reading.search.counts_absence = true;
  reading.search.list_read = reading.read;
  const ListOutcome outcome = Record(reading);
  EXPECT_EQ(outcome.candidates.size(), 50u);
  EXPECT_TRUE(outcome.too_many);
  EXPECT_THAT(outcome.search.absences, IsEmpty());
  EXPECT_EQ(jobs_.catalog.Find("lost")->state, FineTune::SUBMIT_UNKNOWN);
}

TEST_F(ListReadingTest, JobsThatAreAlikeKeepOutNoneThatCarriesAMarker) {
  const record::Intent lost = Lose();
  std::vector<UpstreamJob> items;
  for (int i = 0; i < 60; ++i) items.push_back(Item(absl::StrCat("a", i), "QUEUED", "cats"));
  items.push_back(Item("marked", "QUEUED", AddMarker("cats", lost.marker())));
  const ListOutcome outcome = Record(items);
  EXPECT_EQ(outcome.candidates.size(), 51u);
  EXPECT_EQ(outcome.candidates.back().lost_id, "lost");
}

TEST_F(ListReadingTest, NamesTheWordsThatNobodyKnows) {
  const ListOutcome outcome = Record({Item("a", "POLISHING"), Item("b", "QUEUED")});
  ASSERT_EQ(outcome.unknown_words.size(), 1u);
  EXPECT_EQ(outcome.unknown_words[0].upstream_id, "a");
  EXPECT_EQ(outcome.unknown_words[0].word, "POLISHING");
  EXPECT_EQ(outcome.unknown_words[0].since, kTime);
}

TEST_F(ListReadingTest, TellsOfAJobWithoutTheMarkerThatWasSent) {
  record::FineTuneRecord own = MakeJob("a");
  own.set_request_id("r");
  own.set_marker(MakeMarker("key", "alice", "r", 0));
  ASSERT_TRUE(jobs_.Put(own).ok());
  EXPECT_THAT(Record({Item("up-a", "TRAINING", AddMarker("cats", own.marker()))}).without_marker,
              IsEmpty());
  EXPECT_THAT(Record({Item("up-a", "TRAINING", "cats")}).without_marker, ElementsAre("up-a"));
}

TEST_F(ListReadingTest, KeepsAJobBackThatMayBeALostSubmission) {
  const record::Intent intent = Lose();
  const ListOutcome outcome = Record({Item("x", "QUEUED", AddMarker("cats", intent.marker()))});
  ASSERT_EQ(outcome.candidates.size(), 1u);
  EXPECT_EQ(outcome.candidates[0].job.id, "x");
  EXPECT_EQ(outcome.search.unsettled, 1);
}

TEST_F(ListReadingTest, SearchesForALostSubmissionOnceAllSlicesOfTheListAreThere) {
  const record::Intent intent = Lose();
  ListReading reading = ReadingOf({Item("x", "QUEUED", AddMarker("cats", intent.marker()))});
  reading.more = true;
  ListOutcome outcome = Record(reading);
  ASSERT_EQ(outcome.candidates.size(), 1u);
  EXPECT_EQ(outcome.search.unsettled, 0);
  EXPECT_THAT(outcome.search.wanted, IsEmpty());
  reading.found = outcome.candidates;
  reading.items = {Item("y", "QUEUED", "dogs")};
  reading.more = false;
  outcome.Add(Record(reading));
  EXPECT_THAT(outcome.incomplete, ElementsAre("y"));
  EXPECT_EQ(outcome.candidates.size(), 1u);
  EXPECT_EQ(outcome.search.unsettled, 1);
  EXPECT_THAT(outcome.search.wanted, ElementsAre("x"));
}

// A list shows the job before the submission's answer comes, and the answer calls it otherwise.
TEST_F(ListReadingTest, AJobWhoseAnswerCalledItOtherwiseIsNotShownTwiceHoweverLateItsDetailsAre) {
  const record::Intent intent = Begin();
  const std::string name = AddMarker("cats", intent.marker());
  const ListOutcome outcome = Record({Item("x", "QUEUED", name)});
  ASSERT_EQ(outcome.candidates.size(), 1u);
  EXPECT_THAT(outcome.search.wanted, ElementsAre("x"));

  Run([&](Draft& draft) {
    EXPECT_EQ(Accept(draft, intent,
                     {.job = Item("queue-1", "", name),
                      .read = ++reads_,
                      .time = kTime,
                      .source = pb::StateTransition::SUBMIT}),
              "lost");
  });
  SubmissionSearch again{.candidates = outcome.candidates};
  again.candidates[0].details_read = true;
  SearchResult result;
  Run([&](Draft& draft) { EXPECT_TRUE(SearchSubmissions(again, draft, result).ok()); });
  EXPECT_THAT(result.dropped, IsEmpty());
  EXPECT_EQ(jobs_.catalog.view()->size(), 1u);

  ListReading next = ReadingOf({});
  next.search.candidates = again.candidates;
  next.search.list_read = reads_;
  next.has = [](const std::string& id) { return id == "x"; };
  EXPECT_THAT(Record(next).search.adopted, ElementsAre("x"));
  EXPECT_EQ(jobs_.catalog.view()->size(), 1u);
  EXPECT_EQ(IdOf(Job("x").name()), "lost");
}

TEST_F(ListReadingTest, AllCopiesUnderALostMarkerAreLookedIntoBeforeAnyIsAnothers) {
  const record::Intent intent = Lose();
  Run([&](Draft& draft) {
    Abandon(draft, intent, absl::NotFoundError("not there"), pb::StateTransition::RECONCILE);
  });
  std::vector<UpstreamJob> items;
  for (int i = 0; i < 8; ++i)
    items.push_back(Item(absl::StrCat("x", i), "QUEUED", AddMarker("cats", intent.marker())));
  ListReading reading = ReadingOf(std::move(items));
  reading.search.list_read = reading.read;
  const ListOutcome outcome = Record(reading);
  EXPECT_EQ(outcome.candidates.size(), 8u);
  EXPECT_EQ(outcome.search.wanted.size(), 8u);
  EXPECT_THAT(outcome.search.dropped, IsEmpty());
  EXPECT_EQ(jobs_.catalog.view()->size(), 1u);
}

// Nothing of it is committed yet when the list is recorded.
TEST_F(ListReadingTest, AnAnswerAndTheListThatNamesItsJobOtherwiseMayBeOfOneCommit) {
  const record::Intent intent = Begin();
  const std::string name = AddMarker("cats", intent.marker());
  ListReading reading = ReadingOf({Item("x", "QUEUED", name)});
  reading.has = [](const std::string& id) { return id == "x"; };
  ListOutcome outcome;
  Run([&](Draft& draft) {
    Accept(draft, intent,
           {.job = Item("queue-1", ""), .time = kTime, .source = pb::StateTransition::SUBMIT});
    EXPECT_TRUE(RecordList(reading, draft, outcome).ok());
  });
  ASSERT_EQ(outcome.candidates.size(), 1u);
  EXPECT_EQ(outcome.candidates[0].lost_id, "lost");
  EXPECT_EQ(jobs_.catalog.view()->size(), 1u);
}

TEST_F(ListReadingTest, AJobThatIsShownAlreadyIsItsAnswersUnderAnotherName) {
  Record({Item("x", "QUEUED", AddMarker("cats", MakeMarker("key", "alice", "r", 0)))});
  ASSERT_EQ(jobs_.catalog.view()->size(), 1u);
  const record::Intent intent = Begin();
  Run([&](Draft& draft) {
    Accept(draft, intent,
           {.job = Item("queue-1", ""), .time = kTime, .source = pb::StateTransition::SUBMIT});
  });
  EXPECT_EQ(jobs_.catalog.view()->size(), 1u);
  EXPECT_EQ(Job("x").creator(), "alice");
}

}  // namespace
}  // namespace finetune
