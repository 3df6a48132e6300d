// Two processes on one record, of which one reads Segmind.
#include "server/jobs/tracking/followed_reads.h"

#include "absl/algorithm/container.h"
#include "tests/base/span_collector.h"
#include "tests/jobs/rig.h"
#include "tests/jobs/shared_fleet.h"
#include "tests/jobs/tracking/fake_jobs.h"

namespace finetune {
namespace {

using pb::FineTune;
using UpstreamState = pb::GatewayStatus::UpstreamState;

class FollowedReadsTest : public Rig {
 protected:
  FollowedReadsTest() {
    // Lists come when they are asked for.
    options_.tracker.active_poll_interval = options_.tracker.idle_poll_interval = absl::Hours(1);
    options_.tracker.settle_time = absl::Hours(3);
    options_.tracker.tracer = &tracer_;
  }
  void SetUp() override {
    for (auto& [process, member] : {std::tie(a_, a_member_), std::tie(b_, b_member_)}) {
      auto joined = fleet_.Join(&process == &a_ ? "a" : "b");
      member = joined.get();
      process = std::make_unique<Process>(options_, std::make_unique<SharedMemoryStore>(record_),
                                          segmind_.Connect(), clock_, std::move(joined));
      ASSERT_TRUE(process->Load().ok());
      process->tracker.Start();
    }
    segmind_.set_list_fate([this] {
      ++lists_;
      return list_fate_.load();
    });
  }
  void TearDown() override {
    for (auto& process : {&a_, &b_}) (*process)->Stop();
  }

  void AddJob(const std::string& id, const std::string& status = "TRAINING") {
    AddFakeJob(segmind_, clock_, id, status);
  }
  static FineTune::State StateAt(Process& process, const std::string& id) {
    const VersionPtr version = process.catalog.FindUpstream(id);
    return version == nullptr ? FineTune::STATE_UNSPECIFIED : version->state;
  }
  Reply<absl::Status> Refresh(Process& process, const std::string& id = "",
                              absl::Duration timeout = absl::Minutes(10)) {
    Reply<absl::Status> reply;
    process.tracker.Refresh(id, clock_.Now(), clock_.Now() + timeout, reply.Taker());
    return reply;
  }
  // Whatever is under way or queued anywhere is done when this returns.
  void Lead(SharedFleet::Member& member) {
    const int lists = lists_;
    fleet_.Lead(member);
    ASSERT_TRUE(RunUntil([&] { return lists_ > lists; }));
    const absl::Time begun = clock_.Now();
    ASSERT_TRUE(RunUntil([&] {
      return a_->catalog.observe_time() > absl::InfinitePast() &&
             b_->catalog.observe_time() > absl::InfinitePast() && clock_.Now() > begun;
    }));
  }

  SpanCollector spans_;
  Tracer tracer_{{}, spans_, clock_};
  SharedRecord record_;
  SharedFleet fleet_{record_};
  std::atomic<int> lists_{0};
  std::atomic<Fate> list_fate_{Fate::kFine};
  std::unique_ptr<Process> a_, b_;
  SharedFleet::Member *a_member_ = nullptr, *b_member_ = nullptr;
};

TEST_F(FollowedReadsTest, OnlyTheLeaderReadsAndAllShowIt) {
  AddJob("x");
  RunFor(absl::Minutes(5), absl::Seconds(1));
  EXPECT_EQ(lists_, 0);
  Lead(*a_member_);
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::TRAINING; }));
  EXPECT_EQ(a_->catalog.observe_time(), b_->catalog.observe_time());
  EXPECT_EQ(lists_, 1);
}

TEST_F(FollowedReadsTest, ARefreshOfOneThatFollowsIsAReadOfTheLeaders) {
  Lead(*a_member_);
  AddJob("x");
  const absl::Time asked = clock_.Now();
  auto first = Refresh(*b_), second = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return first.ready() && second.ready(); }));
  EXPECT_TRUE(first.get().ok() && second.get().ok());
  // The answer is no older than the question, and what it read is shown.
  EXPECT_GE(b_->catalog.observe_time(), asked);
  EXPECT_EQ(StateAt(*b_, "x"), FineTune::TRAINING);
  // Nobody asks twice for what one read serves; who came meanwhile may need another.
  EXPECT_LE(lists_, 3);
  // Served already: nobody is asked.
  const int lists = lists_;
  Reply<absl::Status> old;
  b_->tracker.Refresh("", asked, clock_.Now() + absl::Seconds(1), old.Taker());
  ASSERT_TRUE(RunUntil([&] { return old.ready(); }));
  EXPECT_TRUE(old.get().ok());
  EXPECT_EQ(lists_, lists);
}

TEST_F(FollowedReadsTest, AReadThatFailsIsToldToThoseWhoWaitForIt) {
  Lead(*a_member_);
  list_fate_ = Fate::kServerError;
  auto reply = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_EQ(ReasonOf(reply.get()), pb::ErrorReason::UPSTREAM_UNAVAILABLE) << reply.get();
  list_fate_ = Fate::kFine;
  auto again = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return again.ready(); }));
  EXPECT_TRUE(again.get().ok()) << again.get();
}

TEST_F(FollowedReadsTest, WhatOneThatFollowsSaysOfSegmindIsTheLeadersWord) {
  const auto said = [&](UpstreamState state) {
    return RunUntil([&] {
      return a_->tracker.upstream_state() == state && b_->tracker.upstream_state() == state;
    });
  };
  // Nobody has read it.
  EXPECT_TRUE(said(pb::GatewayStatus::DEGRADED));
  Lead(*a_member_);
  EXPECT_TRUE(said(pb::GatewayStatus::HEALTHY));
  for (const auto& [fate, state] :
       {std::pair(Fate::kServerError, pb::GatewayStatus::DEGRADED),
        std::pair(Fate::kKeyRefused, pb::GatewayStatus::CREDENTIAL_REJECTED),
        std::pair(Fate::kFine, pb::GatewayStatus::HEALTHY)}) {
    list_fate_ = fate;
    auto reply = Refresh(*a_);
    ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
    EXPECT_EQ(reply.get().ok(), fate == Fate::kFine);
    EXPECT_TRUE(said(state)) << pb::GatewayStatus::UpstreamState_Name(b_->tracker.upstream_state());
  }
  // Whoever leads next may have another key, and whoever did has no say any more.
  list_fate_ = Fate::kKeyRefused;
  auto reply = Refresh(*a_);
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_TRUE(said(pb::GatewayStatus::CREDENTIAL_REJECTED));
  list_fate_ = Fate::kFine;
  Lead(*b_member_);
  EXPECT_TRUE(said(pb::GatewayStatus::HEALTHY));
  // What cannot be heard is not known; what its own calls meet, it knows.
  fleet_.SetAway(true);
  EXPECT_EQ(a_->tracker.upstream_state(), pb::GatewayStatus::DEGRADED);
  EXPECT_EQ(b_->tracker.upstream_state(), pb::GatewayStatus::HEALTHY);
  fleet_.SetAway(false);
  EXPECT_TRUE(said(pb::GatewayStatus::HEALTHY));
}

TEST_F(FollowedReadsTest, AllKnowThatListsDoNotShowAllJobs) {
  AddJob("x");
  AddJob("y");
  Lead(*a_member_);
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "y") == FineTune::TRAINING; }));
  const auto refresh = [&] {
    auto reply = Refresh(*a_);
    return RunUntil([&] { return reply.ready(); });
  };
  const auto gauge = [](Process& process) {
    const std::string text =
        prometheus::TextSerializer().Serialize(process.metrics.registry()->Collect());
    const size_t at = text.find("\nfinetune_gateway_list_partial ");
    return text.substr(text.find(' ', at) + 1, 1);
  };
  segmind_.set_page(1, /*says_so=*/true);
  ASSERT_TRUE(refresh());
  ASSERT_TRUE(RunUntil([&] { return b_->tracker.list_is_partial(); }));
  EXPECT_EQ(b_->tracker.upstream_state(), pb::GatewayStatus::DEGRADED);
  EXPECT_EQ(gauge(*b_), "1");
  // It stays true for whoever leads next, and is over for all once it is.
  Lead(*b_member_);
  EXPECT_EQ(gauge(*a_) + gauge(*b_), "11");
  segmind_.set_page(SIZE_MAX);
  auto reply = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return reply.ready() && !a_->tracker.list_is_partial(); }));
  EXPECT_FALSE(b_->tracker.list_is_partial());
  EXPECT_EQ(gauge(*a_) + gauge(*b_), "00");
}

TEST_F(FollowedReadsTest, WhatTheLeaderReadsUponAHintBelongsToTheHintsTrace) {
  AddJob("x");
  Lead(*a_member_);
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::TRAINING; }));
  segmind_.Change("x", [](FakeJob& job) { job.status = "AVAILABLE"; });
  const Span hint = tracer_.Start(clock_.Now(), SpanKind::kServer, "webhook", {});
  b_->tracker.Hint("x", hint.context());
  ASSERT_TRUE(RunUntil([&] { return StateAt(*a_, "x") == FineTune::AVAILABLE; }));
  const auto of_hint = [&](const char* name) {
    return absl::c_count_if(spans_.Named(name), [&](const SpanRecord& span) {
      return span.parent_id == hint.context().span_id;
    });
  };
  EXPECT_EQ(of_hint("GET /finetune/request/details"), 1);
  EXPECT_EQ(of_hint("store commit"), 1);
}

TEST_F(FollowedReadsTest, WithoutTheDatabaseARefreshIsRefusedAtOnce) {
  Lead(*a_member_);
  fleet_.SetAway(true);
  auto reply = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_EQ(ReasonOf(reply.get()), pb::ErrorReason::STORE_UNAVAILABLE);
}

TEST_F(FollowedReadsTest, WithoutALeaderARefreshEndsAtItsDeadline) {
  auto reply = Refresh(*b_, "", absl::Seconds(5));
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.get())) << reply.get();
}

TEST_F(FollowedReadsTest, AWebhookAtOneThatFollowsIsReadByTheLeader) {
  AddJob("x");
  Lead(*a_member_);
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::TRAINING; }));
  segmind_.Change("x", [](FakeJob& job) { job.status = "AVAILABLE"; });
  const int lists = lists_;
  b_->tracker.Hint("x");
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::AVAILABLE; }));
  EXPECT_EQ(lists_, lists);
}

TEST_F(FollowedReadsTest, WhoWaitsIsServedByWhoeverLeadsNext) {
  Lead(*a_member_);
  list_fate_ = Fate::kHeld;
  const int lists = lists_;
  auto at_leader = Refresh(*a_), at_follower = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return lists_ > lists; }));
  list_fate_ = Fate::kFine;
  fleet_.Lead(*b_member_);
  AddJob("x");
  ASSERT_TRUE(RunUntil([&] { return at_leader.ready() && at_follower.ready(); }));
  EXPECT_TRUE(at_leader.get().ok()) << at_leader.get();
  EXPECT_TRUE(at_follower.get().ok()) << at_follower.get();
  segmind_.Release();
  ASSERT_TRUE(RunUntil([&] { return StateAt(*a_, "x") == FineTune::TRAINING; }));
  // Back again: the state of the first term is not gone on with.
  fleet_.Lead(*a_member_);
  auto again = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return again.ready(); }));
  EXPECT_TRUE(again.get().ok());
}

TEST_F(FollowedReadsTest, ALeaderThatDoesNotKnowThatItIsOneNoMoreWritesNothing) {
  Lead(*a_member_);
  AddJob("x");
  list_fate_ = Fate::kHeld;
  const int lists = lists_;
  auto reply = Refresh(*a_);
  ASSERT_TRUE(RunUntil([&] { return lists_ > lists; }));
  // It was stopped while the answer was on its way, and another one took over.
  list_fate_ = Fate::kFine;
  fleet_.Lead(*b_member_, /*tell_the_old_one=*/false);
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::TRAINING; }));
  segmind_.Change("x", [](FakeJob& job) { job.status = "AVAILABLE"; });
  b_->tracker.Hint("x");
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::AVAILABLE; }));
  segmind_.Change("x", [](FakeJob& job) { job.status = "FAILED"; });
  const uint64_t revision = record_.point().revision;
  segmind_.Release();
  ASSERT_TRUE(RunUntil([&] { return a_member_->fenced > 0; }));
  EXPECT_EQ(record_.point().revision, revision);
}

TEST_F(FollowedReadsTest, TheSameOneGoesOnInANewTermWithNothingOfTheOldOne) {
  Lead(*a_member_);
  AddJob("x");
  list_fate_ = Fate::kHeld;
  const int lists = lists_;
  auto waits = Refresh(*b_);
  ASSERT_TRUE(RunUntil([&] { return lists_ > lists; }));
  // It was taken for gone, and came back under another name, while its list was on its way.
  list_fate_ = Fate::kFine;
  segmind_.Change("x", [](FakeJob& job) { job.status = "AVAILABLE"; });
  fleet_.Lead(*a_member_);
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::AVAILABLE && waits.ready(); }));
  EXPECT_TRUE(waits.get().ok()) << waits.get();
  const uint64_t revision = record_.point().revision;
  segmind_.Release();
  RunFor(absl::Seconds(5));
  EXPECT_EQ(record_.point().revision, revision);
  EXPECT_EQ(StateAt(*a_, "x"), FineTune::AVAILABLE);
}

TEST_F(FollowedReadsTest, NothingIsReadOnceTheLeaseHasLapsed) {
  Lead(*a_member_);
  fleet_.lease()->Renew(clock_.Now() + absl::Seconds(1));
  RunFor(absl::Seconds(2));
  const int lists = lists_;
  auto reply = Refresh(*a_);
  RunFor(absl::Minutes(2), absl::Seconds(1));
  EXPECT_EQ(lists_, lists);
  EXPECT_FALSE(reply.ready());
  fleet_.lease()->Renew(absl::InfiniteFuture());
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_TRUE(reply.get().ok());
}

TEST_F(FollowedReadsTest, ALeaderThatCannotReadSegmindGivesUpButNotForTheStoresSake) {
  Lead(*a_member_);
  AddJob("x");
  record_.SetFaults({.away = 1});
  auto reply = Refresh(*a_);
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  RunFor(absl::Minutes(3), absl::Seconds(1));
  EXPECT_EQ(a_member_->gave_up, 0);
  record_.SetFaults({});
  ASSERT_TRUE(RunUntil([&] { return StateAt(*b_, "x") == FineTune::TRAINING; }));
  list_fate_ = Fate::kServerError;
  ASSERT_TRUE(RunUntil([&] { return a_member_->gave_up > 0; }, absl::Seconds(1)));
}

}  // namespace
}  // namespace finetune
