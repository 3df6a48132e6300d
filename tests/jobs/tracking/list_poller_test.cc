#include "server/jobs/tracking/list_poller.h"

#include "server/base/error.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/recent_intents.h"
#include "tests/jobs/tracking/fake_jobs.h"
#include "tests/jobs/tracking/reading_rig.h"

namespace finetune {
namespace {

using pb::FineTune;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A poller with all that it talks to, and the tracker's thread, which takes one step at a time.
class ListPollerTest : public ReadingRig {
 protected:
  ListPollerTest() {
    details_ = std::make_unique<DetailsReader>(
        Parts(), absl::Minutes(2), worker_,
        DetailsReader::Listener{.on_search_news = [] {}, .on_observed = [] {}, .on_step = [] {}});
    poller_ = std::make_unique<ListPoller>(
        Parts(), unknown_words_, *details_, ListPoller::Options(), worker_,
        ListPoller::Listener{.on_recorded =
                                 [this](const ListPoller::Recorded& list) {
                                   // As the SegmindReader does.
                                   pace_.OnListRecorded(list.asked, list.start);
                                   candidates_.Take(list.search, /*of_list=*/true);
                                   recorded_.push_back(list.roll.total);
                                   End();
                                 },
                             .on_failed =
                                 [this](absl::Time, const absl::Status& status) {
                                   failed_.push_back(status);
                                   End();
                                 },
                             .on_step = [] {}});
  }
  ~ListPollerTest() override { worker_->Stop(); }

  void AddJob(const std::string& id, const std::string& status = "TRAINING") {
    AddFakeJob(segmind_, jobs_.clock, id, status);
  }
  FineTune Job(const std::string& upstream_id) {
    const VersionPtr version = jobs_.catalog.FindUpstream(upstream_id);
    return version == nullptr ? FineTune() : ToRecord(*version).fine_tune();
  }

  // Until so many lists were recorded or have failed.
  void Poll(int lists = 1) {
    Notification done;
    worker_->Post([&] {
      lists_left_ = lists;
      all_ended_ = &done;
      for (int i = 0; i < lists; ++i) poller_->Start(jobs_.clock.Now());
    });
    done.WaitForNotification();
  }
  void End() {
    if (--lists_left_ == 0 && all_ended_ != nullptr) std::exchange(all_ended_, nullptr)->Notify();
  }

  UnknownWords unknown_words_{absl::Hours(24)};
  std::unique_ptr<DetailsReader> details_;
  std::unique_ptr<ListPoller> poller_;
  // Worker's thread only, but while no list is under way.
  int lists_left_ = 0;
  Notification* all_ended_ = nullptr;
  std::vector<size_t> recorded_;
  std::vector<absl::Status> failed_;
};

TEST_F(ListPollerTest, RecordsWhatTheListShowsAndSaysHowNewThatIs) {
  AddJob("a");
  AddJob("b", "AVAILABLE");
  Poll();
  EXPECT_THAT(recorded_, ElementsAre(2u));
  EXPECT_EQ(Job("a").state(), FineTune::TRAINING);
  EXPECT_EQ(Job("b").state(), FineTune::AVAILABLE);
  EXPECT_EQ(jobs_.catalog.list_time(), jobs_.clock.Now());
}

TEST_F(ListPollerTest, ChangesNothingWhereNothingChanged) {
  AddJob("a");
  Poll();
  const uint64_t revision = jobs_.catalog.view()->revision();
  jobs_.clock.Advance(absl::Seconds(15));
  Poll();
  EXPECT_THAT(recorded_, ElementsAre(1u, 1u));
  EXPECT_EQ(jobs_.catalog.view()->revision(), revision);
  EXPECT_EQ(jobs_.catalog.list_time(), jobs_.clock.Now()) << "it was read all the same";
}

TEST_F(ListPollerTest, RecordsALongListSliceBySlice) {
  constexpr size_t kJobs = 2 * kListSlice + 7;
  for (size_t i = 0; i < kJobs; ++i) AddJob(absl::StrCat("job-", i));
  Poll();
  EXPECT_THAT(recorded_, ElementsAre(kJobs));
  EXPECT_EQ(jobs_.catalog.view()->size(), kJobs);
}

TEST_F(ListPollerTest, RecordsTwoThatAreUnderWayOneAfterTheOther) {
  AddJob("a");
  Poll(/*lists=*/2);
  EXPECT_THAT(recorded_, ElementsAre(1u, 1u));
  EXPECT_EQ(jobs_.catalog.view()->size(), 1u);
}

TEST_F(ListPollerTest, TellsOfOneThatCannotBeReadAndWaitsLonger) {
  segmind_.set_list_fate([] { return Fate::kTruncated; });
  Poll();
  EXPECT_THAT(recorded_, IsEmpty());
  ASSERT_EQ(failed_.size(), 1u);
  Do([&] { EXPECT_EQ(pace_.failures(), 1); });
  Do([&] { EXPECT_GT(poller_->NextStart(), jobs_.clock.Now()); });
}

TEST_F(ListPollerTest, SaysAllAgainAfterOneThatCouldNotBeRecorded) {
  AddJob("a");
  Do([&] { poller_->Stop(absl::AbortedError("its term is over")); });
  // Of a list of several slices the first is recorded, and no other.
  for (size_t i = 0; i < 2 * kListSlice; ++i) AddJob(absl::StrCat("job-", i));
  Poll();
  ASSERT_EQ(failed_.size(), 1u);
  EXPECT_TRUE(absl::IsAborted(failed_[0]));
  EXPECT_LE(jobs_.catalog.view()->size(), kListSlice);
  Do([&] { poller_->Stop(absl::OkStatus()); });
  Poll();
  EXPECT_EQ(jobs_.catalog.view()->size(), 2 * kListSlice + 1);
}

TEST_F(ListPollerTest, AsksForTheDetailsOfWhatListsDoNotTell) {
  AddJob("a", "AVAILABLE");
  Poll();
  Do([&] { EXPECT_LE(details_->queue().NextStart(), jobs_.clock.Now()); });
}

TEST_F(ListPollerTest, SaysThatAWebhookHintedAtAJobThatNobodyKnew) {
  AddJob("a");
  Do([&] { poller_->NoteHint("a", jobs_.clock.Now()); });
  jobs_.clock.Advance(absl::Seconds(1));
  Poll();
  EXPECT_EQ(Job("a").transitions(0).source(), pb::StateTransition::WEBHOOK);
}

TEST_F(ListPollerTest, FollowsAWordThatNobodyKnows) {
  AddJob("a", "POLISHING");
  Poll();
  Do([&] { EXPECT_NE(unknown_words_.NextDue(), absl::InfiniteFuture()); });
}

TEST_F(ListPollerTest, KeepsAJobBackThatMayBeALostSubmission) {
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id("r");
  intent.set_fine_tune_id("lost");
  intent.set_state(record::Intent::UNKNOWN);
  intent.mutable_fine_tune()->set_display_name("cats");
  ASSERT_TRUE(jobs_
                  .Run([&](Draft& draft) {
                    intent.set_marker(MakeMarker(draft.marker_key(), "alice", "r", 0));
                    draft.PutIntent(intent);
                    return absl::OkStatus();
                  })
                  .ok());
  AddJob("a");
  segmind_.Change("a", [&](FakeJob& job) { job.name = AddMarker("cats", intent.marker()); });
  Poll();
  EXPECT_EQ(jobs_.catalog.FindUpstream("a"), nullptr);
  Do([&] { EXPECT_TRUE(candidates_.Has("a")); });
}

// Another process saw a submission that a failover has lost, and brings it back when lists have
// long shown its job.
TEST_F(ListPollerTest, FindsTheJobOfASubmissionThatWasBroughtBackAmongThoseThatDoNotChange) {
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id("r");
  intent.set_fine_tune_id("lost");
  intent.set_state(record::Intent::ACCEPTED);
  intent.mutable_fine_tune()->set_display_name("cats");
  AddJob("a");
  ASSERT_TRUE(jobs_
                  .Run([&](Draft& draft) {
                    intent.set_prepared_read(jobs_.catalog.numbers().Next());
                    intent.set_marker(MakeMarker(draft.marker_key(), "alice", "r", 0));
                    record::Intent open;  // So that jobs which it is not are noted as such.
                    open.set_fine_tune_id("open");
                    open.set_request_id("s");
                    open.set_state(record::Intent::UNKNOWN);
                    open.mutable_fine_tune()->set_display_name("job a");
                    draft.PutIntent(open);
                    return absl::OkStatus();
                  })
                  .ok());
  segmind_.Change("a", [&](FakeJob& job) { job.name = AddMarker("cats", intent.marker()); });
  Poll(/*lists=*/1);
  ASSERT_EQ(Job("a").creator(), "") << "nobody's, as far as the record knows";
  ASSERT_TRUE(jobs_
                  .Run([&](Draft& draft) {
                    return BringBack(draft, intent, jobs_.catalog.numbers().NotBeforeNow());
                  })
                  .ok());
  // Enough for a job that is nowhere to be given up.
  for (int i = 0; i < 5; ++i) {
    jobs_.clock.Advance(absl::Minutes(2));
    Poll();
  }
  const VersionPtr version = jobs_.catalog.Find("lost");
  ASSERT_NE(version, nullptr);
  EXPECT_EQ(version->state, FineTune::SUBMIT_UNKNOWN);
  Do([&] { EXPECT_TRUE(candidates_.Has("a")) << "its details decide"; });
}

}  // namespace
}  // namespace finetune
