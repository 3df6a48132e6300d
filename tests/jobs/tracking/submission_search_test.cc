#include "server/jobs/tracking/submission_search.h"

#include "server/base/time_proto.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/settle.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using pb::FineTune;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kPrepared = 10;
constexpr uint64_t kUnknown = 20;
constexpr uint64_t kList = 30;

class SubmissionSearchTest : public ::testing::Test {
 protected:
  static FineTune Wanted() {
    FineTune wanted;
    wanted.set_display_name("cats");
    wanted.set_data_source_uri("https://data.test/cats.zip");
    wanted.set_instance_prompt("a photo of TOK cat");
    wanted.set_base_model("FAST_FLUX");
    return wanted;
  }

  // A submission that was lost, or whose answer is awaited.
  record::Intent Submit(const std::string& request_id, bool marked = true, bool lost = true,
                        const FineTune& wanted = Wanted(), const std::string& caller = "alice",
                        std::optional<absl::Time> upstream_time = std::nullopt) {
    record::Intent intent;
    if (upstream_time) *intent.mutable_upstream_time() = ToProto(*upstream_time);
    intent.set_caller(caller);
    intent.set_request_id(request_id);
    intent.set_fine_tune_id("id-" + caller + request_id);
    intent.set_fingerprint(wanted.SerializeAsString());
    intent.set_state(record::Intent::PREPARED);
    intent.set_prepared_read(kPrepared + submitted_++);
    if (marked) intent.set_marker(MakeMarker("key", "alice", request_id, 0));
    *intent.mutable_fine_tune() = wanted;
    EXPECT_TRUE(jobs_
                    .Run([&](Draft& draft) {
                      draft.PutIntent(intent);
                      if (lost) BecomeUnknown(draft, intent, "lost", kUnknown);
                      return absl::OkStatus();
                    })
                    .ok());
    return intent;
  }

  static Candidate Job(const std::string& id, const std::string& name) {
    Candidate candidate;
    candidate.job.id = id;
    candidate.job.status = "QUEUED";
    candidate.job.name = name;
    candidate.job.fields.set_data_source_uri(Wanted().data_source_uri());
    candidate.job.fields.set_instance_prompt(Wanted().instance_prompt());
    candidate.job.fields.set_base_model(Wanted().base_model());
    candidate.shown_read = kUnknown + 5;
    candidate.read = kList;
    candidate.details_read = true;
    return candidate;
  }

  SearchResult Search(std::vector<Candidate> candidates, bool counts_absence = false) {
    SubmissionSearch search{.candidates = std::move(candidates),
                            .counts_absence = counts_absence,
                            .list_read = kList,
                            .list_time = list_time_,
                            .absences = absences_,
                            .settle_lists = 3,
                            .settle_time = absl::Minutes(2),
                            .compared = compared_};
    SearchResult result;
    EXPECT_TRUE(
        jobs_.Run([&](Draft& draft) { return SearchSubmissions(search, draft, result); }).ok());
    absences_ = result.absences;
    return result;
  }
  FineTune::State StateOf(const record::Intent& intent) {
    const VersionPtr version = jobs_.catalog.Find(intent.fine_tune_id());
    return version == nullptr ? FineTune::STATE_UNSPECIFIED : version->state;
  }
  std::string UpstreamOf(const record::Intent& intent) {
    return jobs_.catalog.Find(intent.fine_tune_id())->upstream_id;
  }

  JobsFixture jobs_;
  int submitted_ = 0;
  Absences absences_;
  std::shared_ptr<const absl::flat_hash_set<std::string>> compared_;
  absl::Time list_time_ = absl::FromUnixSeconds(1'000'000);
};

TEST_F(SubmissionSearchTest, AdoptsTheJobWithTheMarker) {
  const auto intent = Submit("r");
  const auto result = Search({Job("up", AddMarker("cats", intent.marker()))});
  EXPECT_THAT(result.settled, ElementsAre(intent.fine_tune_id()));
  EXPECT_THAT(result.adopted, ElementsAre("up"));
  EXPECT_EQ(result.unsettled, 0);
  EXPECT_EQ(StateOf(intent), FineTune::QUEUED);
}

TEST_F(SubmissionSearchTest, AsksForDetailsBeforeItDecides) {
  const auto intent = Submit("r");
  Candidate job = Job("up", AddMarker("cats", intent.marker()));
  job.details_read = false;
  const auto result = Search({job}, /*counts_absence=*/true);
  EXPECT_THAT(result.wanted, ElementsAre("up"));
  EXPECT_THAT(result.undecided, IsEmpty());
  EXPECT_THAT(result.absences, IsEmpty()) << "it may be there";
  EXPECT_EQ(StateOf(intent), FineTune::SUBMIT_UNKNOWN);
  EXPECT_EQ(jobs_.catalog.FindUpstream("up"), nullptr) << "not yet shown as another's";
}

TEST_F(SubmissionSearchTest, WaitsForTheDetailsOfAllThatMayBeIt) {
  const auto intent = Submit("r", /*marked=*/false);
  Candidate other = Job("other", "cats");
  other.details_read = false;
  EXPECT_THAT(Search({Job("up", "cats"), other}).adopted, IsEmpty());
  EXPECT_EQ(jobs_.catalog.FindUpstream("up"), nullptr) << "it was shown as somebody else's";
  other.details_read = true;
  other.job.fields.set_instance_prompt("a drawing of another dog");
  EXPECT_THAT(Search({Job("up", "cats"), other}).adopted, ElementsAre("up"));
}

TEST_F(SubmissionSearchTest, OfTwoWithOneMarkerTheOlderIsTheOriginal) {
  const auto intent = Submit("r");
  Candidate copy = Job("copy", AddMarker("cats", intent.marker()));
  Candidate original = copy;
  original.job.id = "original";
  copy.job.created = list_time_ + absl::Seconds(20);
  original.job.created = list_time_;
  EXPECT_THAT(Search({copy, original}).adopted, ElementsAre("original"));
  EXPECT_NE(jobs_.catalog.FindUpstream("copy"), nullptr);
}

TEST_F(SubmissionSearchTest, AMarkedCopyWithAnotherPromptLeavesItUndecided) {
  const auto intent = Submit("r");
  Candidate copy = Job("copy", AddMarker("cats", intent.marker()));
  copy.job.fields.set_instance_prompt("a drawing of another dog");
  for (int i = 0; i < 10; ++i) {
    list_time_ += absl::Minutes(1);
    const auto result = Search({copy}, /*counts_absence=*/true);
    ASSERT_EQ(result.undecided.size(), 1u);
    EXPECT_THAT(result.undecided[0].upstream_ids, ElementsAre("copy"));
    EXPECT_THAT(result.settled, IsEmpty());
  }
  EXPECT_EQ(StateOf(intent), FineTune::SUBMIT_UNKNOWN);
  EXPECT_NE(jobs_.catalog.FindUpstream("copy"), nullptr) << "it is shown as what it is";
  // But it is decided as soon as the job itself comes to light.
  EXPECT_THAT(Search({copy, Job("up", AddMarker("cats", intent.marker()))}).adopted,
              ElementsAre("up"));
}

TEST_F(SubmissionSearchTest, ATimeOfAnotherClockDelaysItOnly) {
  for (bool marked : {true, false}) {
    SCOPED_TRACE(marked);
    const std::string request_id = marked ? "r1" : "r2";
    const auto intent = Submit(request_id, marked, true, Wanted(), request_id, list_time_);
    Candidate job = Job(request_id, AddMarker("cats", intent.marker()));
    job.job.created = list_time_ + absl::Hours(24);
    for (int i = 0; i < 2; ++i) {
      list_time_ += absl::Minutes(1);
      const auto result = Search({job}, /*counts_absence=*/true);
      EXPECT_THAT(result.adopted, IsEmpty()) << "the one that is meant may be shown yet";
      EXPECT_THAT(result.undecided, IsEmpty());
      EXPECT_EQ(jobs_.catalog.FindUpstream(request_id), nullptr) << "not yet shown as another's";
      // Details that are read between two lists neither count nor disturb.
      const Absences before = absences_;
      Search({job}, /*counts_absence=*/false);
      absences_ = before;
    }
    list_time_ += absl::Minutes(1);
    EXPECT_THAT(Search({job}, /*counts_absence=*/true).adopted, ElementsAre(request_id));
    EXPECT_THAT(absences_, IsEmpty());
  }
}

TEST_F(SubmissionSearchTest, AmongThoseWithTheMarkerTheTimeTells) {
  const auto intent = Submit("r", true, true, Wanted(), "alice", list_time_);
  Candidate earlier = Job("earlier", AddMarker("cats", intent.marker()));
  earlier.job.created = list_time_ - absl::Hours(3);
  Candidate job = Job("up", AddMarker("cats", intent.marker()));
  job.job.created = list_time_;
  EXPECT_THAT(Search({earlier}, /*counts_absence=*/true).adopted, IsEmpty());
  EXPECT_THAT(Search({earlier, job}, /*counts_absence=*/true).adopted, ElementsAre("up"));
}

TEST_F(SubmissionSearchTest, TwoThatOnlyTheirTimesTellFromItAreUndecided) {
  const auto intent = Submit("r", /*marked=*/false, true, Wanted(), "alice", list_time_);
  Candidate a = Job("a", "cats");
  Candidate b = Job("b", "cats");
  a.job.created = list_time_ + absl::Hours(3);
  b.job.created = list_time_ + absl::Hours(5);
  SearchResult result;
  for (int i = 0; i < 5; ++i) {
    list_time_ += absl::Minutes(1);
    result = Search({a, b}, /*counts_absence=*/true);
    EXPECT_THAT(result.adopted, IsEmpty());
  }
  ASSERT_EQ(result.undecided.size(), 1u);
  EXPECT_THAT(result.undecided[0].upstream_ids, ElementsAre("a", "b"));
}

TEST_F(SubmissionSearchTest, WhatWasThereBeforeIsNotIt) {
  const auto intent = Submit("r", /*marked=*/false);
  Candidate old = Job("old", "cats");
  old.shown_read = kPrepared - 1;
  const auto result = Search({old}, /*counts_absence=*/true);
  EXPECT_THAT(result.adopted, IsEmpty());
  EXPECT_THAT(result.dropped, ElementsAre("old"));
  EXPECT_EQ(result.absences.at(intent.fine_tune_id()).lists, 1);
}

TEST_F(SubmissionSearchTest, TwoJobsForOneSubmissionWithoutMarkersAreUndecided) {
  const auto intent = Submit("r", /*marked=*/false);
  const auto result = Search({Job("a", "cats"), Job("b", "cats")}, /*counts_absence=*/true);
  EXPECT_THAT(result.adopted, IsEmpty());
  ASSERT_EQ(result.undecided.size(), 1u);
  EXPECT_THAT(result.undecided[0].upstream_ids, ElementsAre("a", "b"));
}

TEST_F(SubmissionSearchTest, EqualSubmissionsOfOneCallerTakeEqualJobsInOrder) {
  const auto first = Submit("r1", /*marked=*/false);
  const auto second = Submit("r2", /*marked=*/false);
  Candidate older = Job("older", "cats");
  Candidate newer = Job("newer", "cats");
  newer.shown_read = older.shown_read + 1;
  EXPECT_THAT(Search({newer, older}).adopted, ElementsAre("older", "newer"));
  EXPECT_EQ(UpstreamOf(first), "older");
  EXPECT_EQ(UpstreamOf(second), "newer");
}

TEST_F(SubmissionSearchTest, AJobThatMayBeTwoCallersIsNobodys) {
  Submit("r1", /*marked=*/false);
  Submit("r2", /*marked=*/false, /*lost=*/true, Wanted(), "bob");
  const auto result = Search({Job("up", "cats")}, /*counts_absence=*/true);
  EXPECT_THAT(result.adopted, IsEmpty());
  EXPECT_EQ(result.undecided.size(), 2u);
}

TEST_F(SubmissionSearchTest, AJobWhoseAnswerMayBeOnItsWayWaitsForIt) {
  const auto lost = Submit("r1", /*marked=*/false);
  Submit("r2", /*marked=*/false, /*lost=*/false);
  const auto result = Search({Job("up", "cats")}, /*counts_absence=*/true);
  EXPECT_THAT(result.adopted, IsEmpty());
  EXPECT_THAT(result.undecided, IsEmpty());
  EXPECT_EQ(jobs_.catalog.FindUpstream("up"), nullptr);
  EXPECT_EQ(StateOf(lost), FineTune::SUBMIT_UNKNOWN);
}

TEST_F(SubmissionSearchTest, AJobOfAnAnsweredSubmissionIsNoOthers) {
  const auto intent = Submit("r", /*marked=*/false);
  record::FineTuneRecord own = MakeJob("own");
  own.set_request_id("r0");
  own.mutable_fine_tune()->set_upstream_id("up");
  ASSERT_TRUE(jobs_.Put(own).ok());
  EXPECT_THAT(Search({Job("up", "cats")}).dropped, ElementsAre("up"));
  EXPECT_EQ(StateOf(intent), FineTune::SUBMIT_UNKNOWN);
}

TEST_F(SubmissionSearchTest, ASubmissionIsGivenUpAfterEnoughListsOverEnoughTime) {
  const auto intent = Submit("r");
  for (int i = 0; i < 5; ++i) Search({}, /*counts_absence=*/false);
  EXPECT_THAT(absences_, IsEmpty()) << "these lists prove nothing";
  Search({}, /*counts_absence=*/true);
  for (int i = 0; i < 5; ++i) Search({}, /*counts_absence=*/true);
  EXPECT_EQ(StateOf(intent), FineTune::SUBMIT_UNKNOWN) << "not over enough time";
  list_time_ += absl::Minutes(2);
  EXPECT_THAT(Search({}, /*counts_absence=*/true).settled, ElementsAre(intent.fine_tune_id()));
  EXPECT_EQ(StateOf(intent), FineTune::FAILED);
}

TEST_F(SubmissionSearchTest, NothingIsDecidedOfOneThatWasBroughtBackBeforeAllJobsWereCompared) {
  record::Intent intent = Submit("r", /*marked=*/true, /*lost=*/false);
  intent.set_brought_back(true);
  ASSERT_TRUE(jobs_
                  .Run([&](Draft& draft) {
                    BecomeUnknown(draft, intent, "lost", kUnknown);
                    return absl::OkStatus();
                  })
                  .ok());
  const std::string name = AddMarker("cats", intent.marker());
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(Search({}, /*counts_absence=*/true).uncompared, ElementsAre(intent.fine_tune_id()));
    list_time_ += absl::Minutes(2);
  }
  const SearchResult waits = Search({Job("copy", name)}, /*counts_absence=*/true);
  EXPECT_THAT(waits.adopted, IsEmpty()) << "the original may be one that lists do not repeat";
  EXPECT_THAT(waits.dropped, IsEmpty());
  EXPECT_EQ(StateOf(intent), FineTune::SUBMIT_UNKNOWN);
  compared_ = std::make_shared<const absl::flat_hash_set<std::string>>(
      absl::flat_hash_set<std::string>{intent.fine_tune_id()});
  const SearchResult decided = Search({Job("copy", name)}, /*counts_absence=*/true);
  EXPECT_THAT(decided.uncompared, IsEmpty());
  EXPECT_THAT(decided.adopted, ElementsAre("copy"));
}

TEST_F(SubmissionSearchTest, AListThatBeganBeforeTheOutcomeWasUnknownDoesNotCount) {
  record::Intent intent = Submit("r");
  ASSERT_TRUE(jobs_
                  .Run([&](Draft& draft) {
                    BecomeUnknown(draft, intent, "lost", kList);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_THAT(Search({}, /*counts_absence=*/true).absences, IsEmpty());
}

}  // namespace
}  // namespace finetune
