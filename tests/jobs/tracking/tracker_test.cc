#include "server/jobs/tracking/tracker.h"

#include "server/jobs/record/marker.h"
#include "tests/base/span_collector.h"
#include "tests/jobs/rig.h"
#include "tests/jobs/tracking/fake_jobs.h"

namespace finetune {
namespace {

using pb::FineTune;

class TrackerTest : public Rig {
 protected:
  void AddJob(const std::string& id, const std::string& status = "TRAINING") {
    AddFakeJob(segmind_, clock_, id, status);
  }
  void SetStatus(const std::string& id, const std::string& status) {
    segmind_.Change(id, [&](FakeJob& job) { job.status = status; });
  }
  Reply<absl::Status> Refresh(absl::Duration timeout = absl::Seconds(10)) {
    Reply<absl::Status> reply;
    process_->tracker.Refresh("", clock_.Now(), clock_.Now() + timeout, reply.Taker());
    return reply;
  }
};

TEST_F(TrackerTest, ShowsTheJobsThatSegmindHas) {
  AddJob("a");
  AddJob("b", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 2; }));
  EXPECT_EQ(Job("a").state(), FineTune::TRAINING);
  EXPECT_EQ(Job("a").display_name(), "job a");
  EXPECT_TRUE(RunUntil([&] { return process_->catalog.observe_time() > absl::InfinitePast(); }));
}

TEST_F(TrackerTest, FillsInWhatListsDoNotSay) {
  AddJob("a", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return Job("a").instance_prompt() == "prompt of a"; }));
  EXPECT_EQ(Job("a").inference_uri(), "https://api.segmind.com/v1/a-slug");
}

TEST_F(TrackerTest, KeepsJobsApartThatShareTheirOtherName) {
  for (const char* id : {"a", "b", "c"}) {
    AddJob(id, "AVAILABLE");
    segmind_.Change(id, [](FakeJob& job) { job.other_id = "account-7"; });
  }
  AddJob("d");
  AddJob("e", "AVAILABLE");
  segmind_.Change("d", [](FakeJob& job) { job.other_id = "e"; });
  segmind_.Change("e", [](FakeJob& job) { job.other_id = "d"; });
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return segmind_.lists() >= 3; }));
  EXPECT_EQ(JobCount(), 5u);
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    EXPECT_EQ(Job(id).display_name(), absl::StrCat("job ", id));
    EXPECT_EQ(Job(id).upstream_id(), id);
  }
  EXPECT_EQ(Job("d").state(), FineTune::TRAINING);
  EXPECT_EQ(Job("e").state(), FineTune::AVAILABLE);
}

TEST_F(TrackerTest, TakesNoJobsDetailsForAnothersThatSharesItsOtherName) {
  for (const char* id : {"a", "b"}) {
    AddJob(id);
    segmind_.Change(id, [](FakeJob& job) { job.other_id = "account-7"; });
  }
  StartProcess();
  ASSERT_TRUE(RunUntil(
      [&] { return !Job("a").instance_prompt().empty() && !Job("b").instance_prompt().empty(); }));
  const int details = segmind_.details();
  process_->tracker.Hint("account-7");
  ASSERT_TRUE(RunUntil([&] { return segmind_.details() > details; }));
  const int lists = segmind_.lists();
  ASSERT_TRUE(RunUntil([&] { return segmind_.lists() > lists + 1; }));
  for (const std::string id : {"a", "b"}) {
    EXPECT_EQ(Job(id).display_name(), "job " + id);
    EXPECT_EQ(Job(id).instance_prompt(), "prompt of " + id);
  }
}

TEST_F(TrackerTest, CommitsNothingWhenNothingChanged) {
  AddJob("a", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return !Job("a").slug().empty(); }));
  const uint64_t revision = process_->catalog.view()->revision();
  const int lists = segmind_.lists();
  ASSERT_TRUE(RunUntil([&] { return segmind_.lists() >= lists + 3; }));
  EXPECT_EQ(process_->catalog.view()->revision(), revision);
}

TEST_F(TrackerTest, PollsFastOnlyWhileAJobIsActive) {
  AddJob("a");
  StartProcess();
  RunFor(absl::Seconds(10));
  const int active = segmind_.lists();
  EXPECT_GE(active, 15);
  SetStatus("a", "AVAILABLE");
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::AVAILABLE; }));
  const int before = segmind_.lists();
  RunFor(absl::Seconds(20));
  EXPECT_LE(segmind_.lists() - before, 5);
}

TEST_F(TrackerTest, SharesOneReadAmongAllWhoWantFreshData) {
  AddJob("a", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return !Job("a").slug().empty(); }));
  RunFor(absl::Seconds(1));
  const int before = segmind_.lists();
  std::vector<Reply<absl::Status>> replies;
  for (int i = 0; i < 1000; ++i) replies.push_back(Refresh());
  ASSERT_TRUE(RunUntil([&] {
    return std::all_of(replies.begin(), replies.end(), [](auto& r) { return r.ready(); });
  }));
  for (auto& reply : replies) EXPECT_TRUE(reply.get().ok());
  EXPECT_LE(segmind_.lists() - before, 2);
}

TEST_F(TrackerTest, ARefreshIncludesWhatWasTrueWhenItWasAskedFor) {
  AddJob("a", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 1; }));
  for (int i = 0; i < 20; ++i) {
    clock_.Advance(absl::Milliseconds(1));
    AddJob(absl::StrCat("new-", i), "AVAILABLE");
    auto refreshed = Refresh();
    ASSERT_TRUE(RunUntil([&] { return refreshed.ready(); }));
    ASSERT_TRUE(refreshed.get().ok());
    EXPECT_NE(Job(absl::StrCat("new-", i)).name(), "");
  }
}

TEST_F(TrackerTest, ARefreshFailsWithTheReadsErrorOrAtItsDeadline) {
  segmind_.set_list_fate([] { return Fate::kServerError; });
  StartProcess();
  auto reply = Refresh(absl::Seconds(2));
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_FALSE(reply.get().ok());
  EXPECT_EQ(ReasonOf(reply.get()), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
}

TEST_F(TrackerTest, RefreshesEndWhenItStops) {
  segmind_.set_list_fate([] { return Fate::kServerError; });
  StartProcess();
  auto reply = Refresh(absl::Hours(1));
  process_->Stop();
  ASSERT_TRUE(reply.ready());
  EXPECT_TRUE(absl::IsCancelled(reply.get()));
  auto late = Refresh();
  EXPECT_TRUE(absl::IsCancelled(late.get()));
}

TEST_F(TrackerTest, AHintIsConfirmedByARead) {
  options_.tracker.active_poll_interval = absl::Hours(1);
  AddJob("a");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return !Job("a").slug().empty(); }));
  SetStatus("a", "AVAILABLE");
  process_->tracker.Hint("a");
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::AVAILABLE; }));
  const FineTune job = Job("a");
  EXPECT_EQ(job.transitions().rbegin()->source(), pb::StateTransition::WEBHOOK);
}

TEST_F(TrackerTest, AHintsReadAndCommitBelongToItsTrace) {
  SpanCollector spans;
  Tracer tracer({}, spans, clock_);
  options_.tracker.active_poll_interval = absl::Hours(1);
  AddJob("a");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return !Job("a").slug().empty(); }));
  SetStatus("a", "AVAILABLE");
  const Span hint = tracer.Start(clock_.Now(), SpanKind::kServer, "webhook", {});
  process_->tracker.Hint("a", hint.context());
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::AVAILABLE; }));
  for (const char* name : {"GET /finetune/request/details", "store commit"}) {
    ASSERT_EQ(spans.Named(name).size(), 1u) << name;
    EXPECT_EQ(spans.Named(name)[0].parent_id, hint.context().span_id);
  }
}

TEST_F(TrackerTest, EachListIsATrace) {
  SpanCollector spans;
  Tracer tracer({}, spans, clock_);
  options_.tracker.tracer = &tracer;
  AddJob("a");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return spans.Named("poll").size() >= 2; }));
  segmind_.set_list_fate([] { return Fate::kServerError; });
  ASSERT_TRUE(RunUntil([&] { return spans.Named("poll").back().failed; }));
  process_.reset();
  const auto polls = spans.Named("poll");
  const SpanRecord list = spans.Named("GET /finetune/request/list")[0];
  EXPECT_EQ(list.parent_id, polls[0].context.span_id);
  EXPECT_EQ(spans.Named("store commit")[0].context.TraceId(), polls[0].context.TraceId());
  EXPECT_EQ(AttributeOf(polls[0], "finetune.list.changed"), "1");
  EXPECT_NE(polls[0].context.TraceId(), polls[1].context.TraceId());
  EXPECT_EQ(polls[0].parent_id, 0u);
}

TEST_F(TrackerTest, AHintOfAnUnknownJobReadsTheList) {
  options_.tracker.idle_poll_interval = absl::Hours(1);
  AddJob("z", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 1; }));
  RunFor(absl::Seconds(1));
  AddJob("a");
  process_->tracker.Hint("a");
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::TRAINING; }));
  EXPECT_EQ(Job("a").transitions(0).source(), pb::StateTransition::WEBHOOK);
}

TEST_F(TrackerTest, AJobThatEndedGoesOnOnlyIfDetailsSaySo) {
  AddJob("a", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::AVAILABLE; }));
  segmind_.set_details_fate([] { return Fate::kServerError; });
  SetStatus("a", "TRAINING");
  const int lists = segmind_.lists();
  ASSERT_TRUE(RunUntil([&] { return segmind_.lists() > lists + 2; }));
  EXPECT_EQ(StateAt("a"), FineTune::AVAILABLE);
  segmind_.set_details_fate(nullptr);
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::TRAINING; }));
}

TEST_F(TrackerTest, AJobThatIsGoneIsLostAndComesBack) {
  for (const char* id : {"a", "b", "c", "d"}) AddJob(id, "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 4; }));
  segmind_.Change("a", [](FakeJob& job) { job.hidden = true; });
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::LOST; }));
  EXPECT_EQ(StateAt("b"), FineTune::AVAILABLE);
  segmind_.Change("a", [](FakeJob& job) { job.hidden = false; });
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::AVAILABLE; }));
}

// How many changes each commit had.
class Commits : public CommitListener {
 public:
  void OnCommitted(absl::Span<const ChangePtr> changes) override {
    MutexLock lock(mu_);
    sizes_.push_back(changes.size());
  }
  std::vector<size_t> sizes() const {
    MutexLock lock(mu_);
    return sizes_;
  }

 private:
  mutable Mutex mu_;
  std::vector<size_t> sizes_ ABSL_GUARDED_BY(mu_);
};

TEST_F(TrackerTest, RecordsALongListInSlicesTheOldestJobsFirst) {
  constexpr size_t kJobs = 3 * kListSlice + 5;
  for (size_t i = 0; i < kJobs; ++i) AddJob(absl::StrCat("j", i), "AVAILABLE");
  Commits commits;
  process_ = std::make_unique<Process>(options_, OpenSqliteStore(":memory:").value(),
                                       segmind_.Connect(), clock_);
  ASSERT_TRUE(process_->Load().ok());
  process_->recorder.AddListener(&commits);
  process_->tracker.Start();
  ASSERT_TRUE(RunUntil([&] { return process_->catalog.observe_time() > absl::InfinitePast(); }));
  EXPECT_EQ(JobCount(), kJobs);
  // Backfilled details follow, a job each.
  const std::vector<size_t> sizes = commits.sizes();
  EXPECT_LE(*std::max_element(sizes.begin(), sizes.end()), kListSlice);
  EXPECT_GE(std::count_if(sizes.begin(), sizes.end(), [](size_t size) { return size > 1; }), 4);
  // As if all had been recorded at once: the first of the list counts as the newest.
  const ViewPtr view = process_->catalog.view();
  for (size_t i = 0; i < kJobs; ++i)
    ASSERT_EQ(view->at(i)->upstream_id, absl::StrCat("j", kJobs - 1 - i));
  process_.reset();
}

TEST_F(TrackerTest, AListThatIsEmptyForOnceLosesNothing) {
  for (int i = 0; i < 10; ++i) AddJob(absl::StrCat("j", i));
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 10; }));
  RunFor(absl::Seconds(5));
  for (int i = 0; i < 10; ++i) {
    segmind_.Change(absl::StrCat("j", i),
                    [&](FakeJob& j) { j.visible = clock_.Now() + absl::Seconds(4); });
  }
  RunFor(absl::Seconds(10));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(StateAt(absl::StrCat("j", i)), FineTune::TRAINING);
    EXPECT_EQ(Job(absl::StrCat("j", i)).transitions_size(), 1);
  }
}

TEST_F(TrackerTest, GoesOnAfterListsThatFail) {
  AddJob("a");
  int calls = 0;
  segmind_.set_list_fate([&calls] { return ++calls < 6 ? Fate::kTruncated : Fate::kFine; });
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 1; }));
}

TEST_F(TrackerTest, KnowsItsJobsAfterARestart) {
  KeepStore("tracker_restart");
  AddJob("a");
  AddJob("b", "AVAILABLE");
  StartProcess();
  ASSERT_TRUE(RunUntil([&] { return JobCount() == 2; }));
  const FineTune before = Job("b");
  process_.reset();
  segmind_.Change("a", [](FakeJob& job) { job.hidden = true; });
  RunFor(absl::Seconds(5));
  StartProcess();
  EXPECT_EQ(Job("b").name(), before.name());
  ASSERT_TRUE(RunUntil([&] { return StateAt("a") == FineTune::LOST; }));
}

}  // namespace
}  // namespace finetune
