#include "server/jobs/tracking/segmind_reader.h"

#include "server/base/error.h"
#include "tests/fakes/fake_segmind.h"
#include "tests/fakes/fixed_key.h"
#include "tests/jobs/rig.h"
#include "tests/jobs/store_fixture.h"
#include "tests/jobs/tracking/fake_jobs.h"

namespace finetune {
namespace {

// A fleet that keeps what the leader tells.
class ListeningFleet : public SoloFleet {
 public:
  ListeningFleet() : SoloFleet(FleetMember{}) {}
  void Tell(const FleetReading& reading) override {
    MutexLock lock(mu_);
    told_ = reading;
  }
  void GiveUp() override {
    MutexLock lock(mu_);
    ++gave_up_;
  }
  FleetReading told() const {
    MutexLock lock(mu_);
    return told_;
  }
  int gave_up() const {
    MutexLock lock(mu_);
    return gave_up_;
  }

 private:
  mutable Mutex mu_;
  FleetReading told_ ABSL_GUARDED_BY(mu_);
  int gave_up_ ABSL_GUARDED_BY(mu_) = 0;
};

// One term of a leader, or all the time of a process that has the record to itself.
class SegmindReaderTest : public ::testing::Test {
 protected:
  SegmindReaderTest() {
    SegmindClient::Options options;
    options.url = "http://segmind.test";
    options.calls_per_minute = 1'000'000;
    client_ =
        std::make_unique<SegmindClient>(options, *connection_, key_, jobs_.clock, jobs_.metrics);
  }
  ~SegmindReaderTest() override {
    if (reader_ != nullptr) reader_->Stop();
    connection_->Shutdown();
    jobs_.recorder->Stop();
  }

  void Start(std::shared_ptr<const LeaderLease> lease = nullptr) {
    reader_ = std::make_unique<SegmindReader>(
        SegmindReader::Options{.active_poll_interval = absl::Seconds(1),
                               .idle_poll_interval = absl::Seconds(5),
                               .settle_time = absl::Seconds(3)},
        SegmindReader::Parts{.segmind = *client_,
                             .recorder = *jobs_.recorder,
                             .catalog = jobs_.catalog,
                             .clock = jobs_.clock,
                             .metrics = jobs_.metrics,
                             .fleet = fleet_,
                             .upstream_clock = upstream_clock_,
                             .list_is_partial = list_is_partial_},
        std::move(lease));
    reader_->Start();
    Worker::AwaitIdleProcess();
  }
  std::shared_ptr<LeaderLease> Lease(absl::Duration lasts) {
    return std::make_shared<LeaderLease>(LeaderTerm{1, "me"}, jobs_.clock.Now() + lasts);
  }
  void RunFor(absl::Duration time) {
    const absl::Time end = jobs_.clock.Now() + time;
    while (jobs_.clock.Now() < end) {
      jobs_.clock.Advance(absl::Milliseconds(20));
      Worker::AwaitIdleProcess();
    }
  }
  Reply<absl::Status> Refresh(absl::Duration timeout = absl::Seconds(10)) {
    Reply<absl::Status> reply;
    reader_->Refresh("", jobs_.clock.Now(), jobs_.clock.Now() + timeout, reply.Taker());
    Worker::AwaitIdleProcess();
    return reply;
  }
  void AddJob(const std::string& id, const std::string& status) {
    AddFakeJob(segmind_, jobs_.clock, id, status);
  }

  JobsFixture jobs_;
  FixedKey key_;
  FakeSegmind segmind_{jobs_.clock};
  std::unique_ptr<HttpClient> connection_ = segmind_.Connect();
  std::unique_ptr<SegmindClient> client_;
  ListeningFleet fleet_;
  UpstreamClock upstream_clock_;
  std::atomic<bool> list_is_partial_ = false;
  std::unique_ptr<SegmindReader> reader_;
};

TEST_F(SegmindReaderTest, ReadsSegmindAtOnceAndThenAtItsPace) {
  AddJob("a", "TRAINING");
  Start();
  EXPECT_EQ(segmind_.lists(), 1);
  EXPECT_NE(jobs_.catalog.FindUpstream("a"), nullptr);
  RunFor(absl::Seconds(10));
  EXPECT_GE(segmind_.lists(), 9);
  EXPECT_LE(segmind_.lists(), 12);
}

TEST_F(SegmindReaderTest, BeginsNothingOnceItsLeaseHasLapsedAndGoesOnIfItIsRenewed) {
  const auto lease = Lease(absl::Seconds(3));
  Start(lease);
  RunFor(absl::Seconds(3));
  const int lists = segmind_.lists();
  RunFor(absl::Seconds(20));
  EXPECT_EQ(segmind_.lists(), lists);
  lease->Renew(jobs_.clock.Now() + absl::Minutes(1));
  RunFor(absl::Seconds(6));
  EXPECT_GT(segmind_.lists(), lists);
}

TEST_F(SegmindReaderTest, ReadsAtOnceWhatOthersWantAndTellsThemByTheirTicket) {
  Start(Lease(absl::Hours(1)));
  RunFor(absl::Seconds(1));
  const int lists = segmind_.lists();
  reader_->Want(7);
  Worker::AwaitIdleProcess();
  EXPECT_EQ(segmind_.lists(), lists + 1);
  EXPECT_EQ(fleet_.told().served, 7u);
  EXPECT_EQ(fleet_.told().list_time, jobs_.clock.Now());
  EXPECT_EQ(fleet_.told().failed, 0u);
}

TEST_F(SegmindReaderTest, TellsOthersWhyTheirReadFailed) {
  Start(Lease(absl::Hours(1)));
  RunFor(absl::Seconds(1));
  segmind_.set_list_fate([] { return Fate::kTruncated; });
  reader_->Want(8);
  Worker::AwaitIdleProcess();
  EXPECT_EQ(fleet_.told().failed, 8u);
  EXPECT_FALSE(fleet_.told().failure.ok());
  EXPECT_EQ(fleet_.told().served, 0u);
}

TEST_F(SegmindReaderTest, LetsAnotherTryWhereSegmindCannotBeReadFromHere) {
  Start(Lease(absl::Hours(1)));
  segmind_.set_list_fate([] { return Fate::kTruncated; });
  for (int i = 0; i < 1'000 && fleet_.gave_up() == 0; ++i) RunFor(absl::Seconds(1));
  EXPECT_GT(fleet_.gave_up(), 0);
}

TEST_F(SegmindReaderTest, WhoWaitsForAReadIsServedByTheNextOne) {
  Start();
  const Reply<absl::Status> reply = Refresh();
  RunFor(absl::Milliseconds(100));
  ASSERT_TRUE(reply.ready());
  EXPECT_TRUE(reply.get().ok()) << reply.get();
}

TEST_F(SegmindReaderTest, AtTheEndOfItsTermThoseWhoWaitGoElsewhere) {
  Start(Lease(absl::Seconds(1)));
  // Nothing is read any more, and nobody has said yet that the term is over.
  RunFor(absl::Seconds(2));
  const Reply<absl::Status> reply = Refresh();
  EXPECT_FALSE(reply.ready());
  reader_->StandDown();
  Worker::AwaitIdleProcess();
  ASSERT_TRUE(reply.ready());
  EXPECT_TRUE(absl::IsAborted(reply.get())) << reply.get();
  const Reply<absl::Status> late = Refresh();
  ASSERT_TRUE(late.ready());
  EXPECT_TRUE(absl::IsAborted(late.get()));
  const int lists = segmind_.lists();
  RunFor(absl::Minutes(1));
  EXPECT_EQ(segmind_.lists(), lists);
}

TEST_F(SegmindReaderTest, AfterItsStopThoseWhoWaitHearThatTheGatewayEnds) {
  Start();
  reader_->Stop();
  const Reply<absl::Status> late = Refresh();
  ASSERT_TRUE(late.ready());
  EXPECT_TRUE(absl::IsCancelled(late.get()));
  EXPECT_EQ(ReasonOf(late.get()), pb::ErrorReason::SERVER_DRAINING);
}

TEST_F(SegmindReaderTest, AHintBringsTheJobsDetailsBeforeTheNextList) {
  AddJob("a", "TRAINING");
  Start();
  RunFor(absl::Milliseconds(500));
  segmind_.Change("a", [](FakeJob& job) { job.status = "AVAILABLE"; });
  const int lists = segmind_.lists();
  reader_->Hint("a");
  Worker::AwaitIdleProcess();
  EXPECT_EQ(jobs_.catalog.FindUpstream("a")->state, pb::FineTune::AVAILABLE);
  EXPECT_EQ(segmind_.lists(), lists);
}

TEST_F(SegmindReaderTest, AHintAtAJobThatNobodyKnowsBringsAList) {
  Start();
  RunFor(absl::Milliseconds(500));
  AddJob("b", "TRAINING");
  reader_->Hint("b");
  Worker::AwaitIdleProcess();
  EXPECT_NE(jobs_.catalog.FindUpstream("b"), nullptr);
}

TEST_F(SegmindReaderTest, SaysWhenListsDoNotShowAllJobs) {
  for (int i = 0; i < 5; ++i) AddJob(absl::StrCat("job-", i), "AVAILABLE");
  Start();
  RunFor(absl::Seconds(1));
  EXPECT_FALSE(list_is_partial_);
  segmind_.set_page(2, /*says_so=*/true);
  RunFor(absl::Seconds(20));
  EXPECT_TRUE(list_is_partial_);
}

}  // namespace
}  // namespace finetune
