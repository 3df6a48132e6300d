// Several gateways that share a record, and what they submit.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "server/base/error.h"
#include "server/jobs/record/settle.h"
#include "tests/base/notification.h"
#include "tests/jobs/rig.h"
#include "tests/jobs/shared_memory_store.h"

namespace finetune {
namespace {

class SharedSubmissionTest : public Rig {
 protected:
  SharedSubmissionTest() { record_.GiveClock(); }

  // One of them reads Segmind: the first, unless said otherwise.
  Process& Start(bool reads = false) {
    auto store = std::make_unique<SharedMemoryStore>(record_);
    stores_.push_back(store.get());
    processes_.push_back(
        std::make_unique<Process>(options_, std::move(store), segmind_.Connect(), clock_));
    EXPECT_TRUE(processes_.back()->Load().ok());
    if (reads || processes_.size() == 1) processes_.back()->tracker.Start();
    return *processes_.back();
  }
  void TearDown() override {
    processes_.clear();
    Rig::TearDown();
  }
  CreateReply CreateAt(Process& process, const std::string& request_id,
                       absl::Duration timeout = absl::Seconds(10),
                       SpendingLimits limits = SpendingLimits()) {
    CreateReply reply;
    process.submitter.Create({.caller = "alice",
                              .limits = limits,
                              .request_id = request_id,
                              .fine_tune = Request(),
                              .deadline = clock_.Now() + timeout},
                             reply.Taker());
    return reply;
  }
  absl::StatusOr<VersionPtr> Await(const CreateReply& reply) {
    EXPECT_TRUE(RunUntil([&] { return reply.ready(); }));
    return reply.ready() ? reply.get() : absl::UnknownError("no answer");
  }
  CreateReply Repeat(Process& process, const std::string& request_id) {
    CreateReply reply = CreateAt(process, request_id);
    EXPECT_TRUE(RunUntil([&] {
      if (!reply.ready() || !absl::IsUnavailable(reply.get().status())) return reply.ready();
      reply = CreateAt(process, request_id);
      return false;
    }));
    return reply;
  }
  // What is given up may be asked for again.
  bool EndsInAJob(Process& process, const std::string& request_id) {
    for (int tries = 0; tries < 20; ++tries) {
      const auto now = Repeat(process, request_id).get();
      if (!now.ok()) return false;
      if (!(*now)->upstream_id.empty()) return true;
      RunFor(options_.tracker.settle_time);
    }
    return false;
  }
  // When lists show what was submitted until now.
  absl::Time ListedBy() { return clock_.Now() + options_.tracker.settle_time; }
  // As a kill: nobody hears of it any more, and what it owns is taken over.
  void Kill(size_t number) {
    Membership& membership = stores_[number]->membership();
    const std::string name = membership.id();
    membership.Lose(name);
    stores_[number]->SetCutOff(true);
    processes_[number]->http->Shutdown();
    record_.End(name);
    record_.Wake();
  }

  SharedRecord record_;
  std::vector<SharedMemoryStore*> stores_;
  std::vector<std::unique_ptr<Process>> processes_;
};

TEST_F(SharedSubmissionTest, CallersOfAllGatewaysShareOneSubmission) {
  Process &a = Start(), &b = Start(), &c = Start();
  segmind_.NextSubmits({Fate::kHeld});
  const CreateReply first = CreateAt(a, "r");
  ASSERT_TRUE(RunUntil([&] { return segmind_.taken() == 1; }));
  // So that no list shows it.
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.hidden = true; });
  const CreateReply second = CreateAt(b, "r"), third = CreateAt(c, "r");
  RunFor(absl::Seconds(1));
  EXPECT_FALSE(second.ready());
  segmind_.Release();
  const auto made = Await(first);
  ASSERT_TRUE(made.ok()) << made.status();
  for (const CreateReply& other : {second, third}) {
    const auto joined = Await(other);
    ASSERT_TRUE(joined.ok()) << joined.status();
    EXPECT_EQ((*joined)->id, (*made)->id);
    EXPECT_EQ((*joined)->upstream_id, (*made)->upstream_id);
  }
  EXPECT_EQ((*Await(CreateAt(b, "r")))->id, (*made)->id) << "and once it is over";
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SharedSubmissionTest, ARefusalIsHeardWhereverItIsAwaited) {
  Process &a = Start(), &b = Start();
  segmind_.NextSubmits({Fate::kHeldRefused});
  const CreateReply first = CreateAt(a, "r");
  ASSERT_TRUE(RunUntil([&] { return segmind_.posts() == 1; }));
  const CreateReply second = CreateAt(b, "r");
  RunFor(absl::Seconds(1));
  segmind_.Release();
  const absl::Status refused = Await(first).status();
  EXPECT_FALSE(refused.ok());
  EXPECT_EQ(Await(second).status(), refused) << "with all its details";
  EXPECT_EQ(segmind_.posts(), 1);
  ASSERT_TRUE(Await(CreateAt(b, "r")).ok()) << "the same request_id may submit again";
}

TEST_F(SharedSubmissionTest, AnEndThatComesWithTheVeryCommitThatFindsItIsHeard) {
  Process &a = Start(), &b = Start();
  segmind_.NextSubmits({Fate::kHeldRefused});
  const CreateReply first = CreateAt(a, "r");
  ASSERT_TRUE(RunUntil([&] { return segmind_.posts() == 1; }));
  // One commit of b's: the repeated request finds the submission, and then its end is recorded
  // there, as by a leader that learns of it from a list.
  Notification begun, go;
  b.recorder.Record(
      [&](Draft&) {
        begun.Notify();
        go.WaitForNotification();
        return absl::OkStatus();
      },
      [](const absl::Status&) {});
  begun.WaitForNotification();
  // Is queued on this thread: nothing else is under way there.
  const CreateReply second = CreateAt(b, "r", absl::Hours(1));
  Reply<absl::Status> ended;
  b.recorder.Record(
      [](Draft& draft) -> absl::Status {
        auto intent = draft.FindIntent("alice", "r");
        if (!intent.ok() || !intent->has_value()) return absl::InternalError("not found");
        Abandon(draft, **std::move(intent), absl::ResourceExhaustedError("no"),
                pb::StateTransition::POLL);
        return absl::OkStatus();
      },
      ended.Taker());
  go.Notify();
  ASSERT_TRUE(ended.Wait().ok()) << ended.get();
  Worker::AwaitIdleProcess();
  ASSERT_TRUE(second.ready()) << "and not only in an hour";
  EXPECT_EQ(second.get().status().message(), "no");
  segmind_.Release();
  EXPECT_FALSE(Await(first).ok());
}

TEST_F(SharedSubmissionTest, WhoJoinsIsToldInTimeThatNothingIsKnownYet) {
  Process &a = Start(), &b = Start();
  segmind_.NextSubmits({Fate::kHeld});
  const CreateReply first = CreateAt(a, "r");
  ASSERT_TRUE(RunUntil([&] { return segmind_.taken() == 1; }));
  // So that no list shows it.
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.hidden = true; });
  const auto shown = Await(CreateAt(b, "r", absl::Seconds(2)));
  ASSERT_TRUE(shown.ok()) << shown.status();
  EXPECT_EQ((*shown)->state, pb::FineTune::SUBMIT_UNKNOWN);
  segmind_.Release();
  EXPECT_EQ((*Await(first))->id, (*shown)->id);
}

TEST_F(SharedSubmissionTest, WhoDiesInTheMiddleOfAPostLeavesOneJob) {
  Process &a = Start(), &b = Start();
  segmind_.NextSubmits({Fate::kHeld});
  const CreateReply first = CreateAt(b, "r");
  ASSERT_TRUE(RunUntil([&] { return segmind_.taken() == 1; }));
  const CreateReply again = CreateAt(a, "r", absl::Seconds(60));
  Kill(1);
  const auto found = Await(again);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(RunUntil(
      [&] { return a.catalog.Find((*found)->id)->state != pb::FineTune::SUBMIT_UNKNOWN; }));
  EXPECT_EQ(a.catalog.Find((*found)->id)->upstream_id, segmind_.jobs()[0].id);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SharedSubmissionTest, WhoseTimeHasRunOutSendsNothing) {
  Process& a = Start();
  Membership& membership = stores_[0]->membership();
  const std::string name = membership.id();
  membership.Join(name, absl::InfinitePast());
  const absl::Status status = Await(CreateAt(a, "r", absl::Seconds(3))).status();
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::STORE_UNAVAILABLE) << status;
  EXPECT_EQ(segmind_.posts(), 0);
  membership.Join(name, absl::InfiniteFuture());
  EXPECT_TRUE(Await(CreateAt(a, "r")).ok());
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SharedSubmissionTest, WhoStopsLeavesNothingToWaitFor) {
  Process &a = Start(), &b = Start();
  segmind_.NextSubmits({Fate::kHeld});
  const CreateReply first = CreateAt(b, "r");
  ASSERT_TRUE(RunUntil([&] { return segmind_.taken() == 1; }));
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.hidden = true; });
  b.Stop();
  const auto again = Await(CreateAt(a, "r", absl::Seconds(60)));
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.hidden = false; });
  EXPECT_EQ(segmind_.posts(), 1) << "whatever it was told";
}

TEST_F(SharedSubmissionTest, ALimitHoldsOverAllOfThem) {
  Start(), Start(), Start();
  std::vector<CreateReply> replies;
  for (int i = 0; i < 30; ++i)
    replies.push_back(CreateAt(*processes_[i % 3], absl::StrCat("r", i), absl::Seconds(60),
                               {.creates_per_day = 7}));
  int made = 0;
  for (const CreateReply& reply : replies) {
    const auto result = Await(reply);
    made += result.ok() ? 1 : 0;
    if (!result.ok()) {
      EXPECT_EQ(ReasonOf(result.status()), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
    }
  }
  EXPECT_EQ(made, 7);
  EXPECT_EQ(segmind_.taken(), 7);
}

TEST_F(SharedSubmissionTest, WhatAFailoverLostWithItsGatewayIsNotSubmittedAgain) {
  Process &a = Start(), &b = Start();
  Start();
  const uint64_t seq = record_.point().seq;
  record_.SetQuiet(true);
  const CreateReply first = CreateAt(b, "r");
  ASSERT_TRUE(RunUntil([&] { return first.ready(); }));
  ASSERT_TRUE(first.get().ok()) << first.get().status();
  // Nobody else has seen it, and nobody ever will.
  stores_[1]->SetCutOff(true);
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.hidden = true; });
  record_.LoseTail(seq, ListedBy());
  record_.SetQuiet(false);
  record_.Wake();
  const absl::Status refused = Await(CreateAt(a, "r")).status();
  EXPECT_EQ(ReasonOf(refused), pb::ErrorReason::STORE_UNAVAILABLE) << refused;
  segmind_.Change(segmind_.jobs()[0].id, [](FakeJob& job) { job.hidden = false; });
  const CreateReply found = Repeat(a, "r");
  ASSERT_TRUE(found.get().ok()) << found.get().status();
  EXPECT_EQ((*found.get())->upstream_id, segmind_.jobs()[0].id);
  EXPECT_EQ(segmind_.posts(), 1);
  EXPECT_TRUE(Repeat(a, "another").get().ok()) << "it is over";
}

TEST_F(SharedSubmissionTest, AFailoverThatLostNothingHoldsUpNobodyOnceAllAreBack) {
  Process &a = Start(), &b = Start();
  Start();
  ASSERT_TRUE(Await(CreateAt(b, "r")).ok());
  stores_[2]->SetCutOff(true);
  record_.LoseTail(record_.point().seq, absl::InfiniteFuture());
  record_.Wake();
  EXPECT_TRUE(absl::IsUnavailable(Await(CreateAt(a, "s")).status())) << "one is missing";
  EXPECT_TRUE(Await(CreateAt(a, "r")).ok()) << "what the record has is told";
  stores_[2]->SetCutOff(false);
  record_.Wake();
  EXPECT_TRUE(Repeat(a, "s").get().ok());
  EXPECT_EQ(segmind_.posts(), 2);
}

// Whatever Segmind, the database and the gateways do.
TEST_F(SharedSubmissionTest, OneRequestIsNeverTwoJobs) {
  const unsigned seeds = std::getenv("FINETUNE_SANITIZER_RUN") ? 2 : 12;
  for (unsigned seed = 0; seed < seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    for (int i = 0; i < 3; ++i) Start(/*reads=*/i == 0);
    const size_t first = processes_.size() - 3;
    const int before = segmind_.taken();
    const uint64_t kept = record_.point().seq;
    record_.SetFaults({.refused = 0.05,
                       .open_written = 0.05,
                       .open_lost = 0.05,
                       .still_open = 0.2,
                       .away = 0.05});
    const std::vector<Fate> fates = {
        Fate::kFine,    Fate::kFine,         Fate::kLostBefore,  Fate::kLostAfter,
        Fate::kRefused, Fate::kNoConnection, Fate::kServerError, Fate::kServerErrorAfter};
    segmind_.set_submit_fate(
        [own = std::mt19937(seed + 1), fates]() mutable { return fates[own() % fates.size()]; });
    std::map<std::string, std::vector<CreateReply>> replies;
    for (int i = 0; i < 40; ++i) {
      const std::string id = absl::StrCat("s", seed, "-", random() % 10);
      replies[id].push_back(CreateAt(*processes_[first + random() % 3], id, absl::Seconds(8)));
      if (i == 20) Kill(first + 1 + random() % 2);
      // Others may not have heard of the latest commits, and nobody will.
      if (i % 13 == 5) record_.SetQuiet(true);
      if (i % 13 == 8) {
        const uint64_t seq = record_.point().seq;
        record_.LoseTail(seq - std::min<uint64_t>(seq - kept, random() % 6), ListedBy());
        record_.SetQuiet(false);
        record_.Wake();
      }
      RunFor(absl::Milliseconds(random() % 300));
    }
    RunFor(absl::Seconds(30));
    record_.SetFaults({});
    segmind_.set_submit_fate([] { return Fate::kFine; });
    RunFor(absl::Seconds(30));
    for (const auto& [id, unused] : replies) ASSERT_TRUE(EndsInAJob(*processes_[first], id)) << id;
    RunFor(absl::Seconds(10));
    std::map<std::string, int> by_marker;
    for (const FakeJob& job : segmind_.jobs()) ++by_marker[job.name];
    for (const auto& [marker, jobs] : by_marker) ASSERT_EQ(jobs, 1) << marker;
    // One for each request, whatever it took.
    ASSERT_EQ(segmind_.taken() - before, static_cast<int>(replies.size()));
    segmind_.set_submit_fate(nullptr);
    for (size_t i = first; i < processes_.size(); ++i) {
      processes_[i]->Stop();
      record_.End(stores_[i]->membership().id());
    }
    processes_[first]->tracker.Stop();
  }
}

}  // namespace
}  // namespace finetune
