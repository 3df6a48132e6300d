// Several processes on one record, with everything going wrong that may.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "server/base/time_proto.h"
#include "tests/base/manual_clock.h"
#include "tests/jobs/shared_memory_store.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

// What a process shows, commit after commit.
class Shown : public CommitListener {
 public:
  void OnCommitted(absl::Span<const ChangePtr> changes) override {
    MutexLock lock(mu_);
    for (const ChangePtr& change : changes) {
      if (!revisions_.empty() && change->revision() != revisions_.back() + 1) in_order_ = false;
      revisions_.push_back(change->revision());
    }
  }
  void OnReloading() override { ++reloads_; }
  void OnReloaded() override { ++reloads_; }
  int reloads() const { return reloads_; }
  bool in_order() const {
    MutexLock lock(mu_);
    return in_order_;
  }
  size_t count() const {
    MutexLock lock(mu_);
    return revisions_.size();
  }

 private:
  std::atomic<int> reloads_ = 0;
  mutable Mutex mu_;
  bool in_order_ ABSL_GUARDED_BY(mu_) = true;
  std::vector<uint64_t> revisions_ ABSL_GUARDED_BY(mu_);
};

// One gateway, as far as its record goes.
struct Replica : JobsFixture {
  explicit Replica(SharedRecord& record)
      : JobsFixture(
            std::make_unique<SharedMemoryStore>(record), {},
            {.open_patience = absl::Microseconds(20), .ask_again_after = absl::Microseconds(5)}) {
    recorder->AddListener(&shown);
  }
  ~Replica() { recorder->Stop(); }
  Shown shown;
};

// Adds one to a number that a job carries, and remembers under which name this was done.
absl::Status Increment(Draft& draft, const std::string& id, const std::string& name) {
  auto record = draft.Find(id).value_or(MakeJob(id));
  auto& labels = *record.mutable_fine_tune()->mutable_labels();
  int count = 0;
  if (labels.contains("count")) CHECK(absl::SimpleAtoi(labels["count"], &count));
  labels["count"] = std::to_string(count + 1);
  labels["last"] = name;
  draft.Put(std::move(record));
  return absl::OkStatus();
}

int CountOf(const Catalog& catalog, const std::string& id) {
  const VersionPtr version = catalog.Find(id);
  int count = 0;
  if (version != nullptr) CHECK(absl::SimpleAtoi(version->labels.at("count"), &count));
  return count;
}

TEST(SharedRecord, TakesInWhatOthersCommittedBeforeItsTurn) {
  SharedRecord record;
  Replica a(record), b(record);
  ASSERT_TRUE(a.Put(MakeJob("a")).ok());
  ASSERT_TRUE(b.Run([](Draft& draft) {
                 EXPECT_TRUE(draft.Find("a").has_value());
                 draft.Put(MakeJob("b"));
                 return absl::OkStatus();
               }).ok());
  EXPECT_EQ(b.catalog.Find("a")->revision, 1u);
  EXPECT_EQ(b.catalog.Find("b")->revision, 2u);
}

TEST(SharedRecord, IsSeenByThoseWhoWriteNothing) {
  SharedRecord record;
  Replica a(record), b(record);
  ASSERT_TRUE(a.Put(MakeJob("a")).ok());
  // The wake-up's work is before this in the recorder's queue.
  std::promise<void> idle;
  b.recorder->Probe([&](const absl::Status&) { idle.set_value(); });
  idle.get_future().wait();
  ASSERT_NE(b.catalog.Find("a"), nullptr);
  EXPECT_EQ(b.shown.count(), 1u);
}

// What only the leader of `term` may write.
absl::Status RunAs(Replica& replica, const LeaderTerm& term, const std::string& id) {
  std::promise<absl::Status> done;
  replica.recorder->Record(
      [&](Draft& draft) {
        auto record = MakeJob(id);
        (*record.mutable_fine_tune()->mutable_labels())["term"] = std::to_string(term.number);
        draft.Put(std::move(record));
        return absl::OkStatus();
      },
      [&](absl::Status status) { done.set_value(std::move(status)); }, {}, {.term = term});
  return done.get_future().get();
}

TEST(SharedRecord, ATermThatIsOverWritesNothing) {
  SharedRecord record;
  Replica a(record), b(record);
  record.SetLeader({1, "a"});
  EXPECT_TRUE(RunAs(a, {1, "a"}, "x").ok());
  record.SetLeader({2, "b"});
  EXPECT_EQ(RunAs(a, {1, "a"}, "y").code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(RunAs(b, {2, "b"}, "z").ok());
  // A number that was given out twice.
  EXPECT_EQ(RunAs(a, {2, "a"}, "y").code(), absl::StatusCode::kAborted);
  EXPECT_EQ(a.catalog.Find("y"), nullptr);
  // What anybody may write goes on, in the same turn, too.
  EXPECT_TRUE(a.Put(MakeJob("w")).ok());
  EXPECT_EQ(record.point().revision, 3u);
}

TEST(SharedRecord, NoChangeOfAnOldTermFollowsANewOnesFirst) {
  SharedRecord record;
  constexpr int kReplicas = 3;
  std::atomic<bool> stop{false};
  std::atomic<int> fenced{0};
  std::vector<std::unique_ptr<Replica>> replicas;
  std::vector<std::thread> threads;
  for (int i = 0; i < kReplicas; ++i) {
    replicas.push_back(std::make_unique<Replica>(record));
    record.SetLeader({1, "0"});
  }
  std::atomic<uint64_t> last{1};
  for (int i = 0; i < kReplicas; ++i) {
    threads.emplace_back([&, i] {
      // Each believes that it leads long after another has taken over.
      std::mt19937 random(i);
      LeaderTerm mine{1, "0"};
      while (!stop) {
        if (random() % 8 == 0) {
          mine = {++last, std::to_string(i)};
          record.SetLeader(mine);
        }
        if (RunAs(*replicas[i], mine, std::to_string(random() % 5)).ok()) continue;
        ++fenced;
      }
    });
  }
  while (record.point().revision < 3'000 || fenced < 100) std::this_thread::yield();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  // Two take-overs may come in the other order than their numbers were drawn: what counts is that
  // no term comes back once another one has written.
  std::set<std::string> over;
  std::string current;
  for (const StoredChange& change : record.log()) {
    record::FineTuneRecord after;
    ASSERT_TRUE(after.ParseFromString(change.after));
    const std::string term = after.fine_tune().labels().at("term");
    if (term == current) continue;
    EXPECT_TRUE(over.insert(term).second) << "term " << term << " wrote again";
    current = term;
  }
  EXPECT_GT(over.size(), 10u);
}

TEST(SharedRecord, AnIntentOfOneIsKnownToAll) {
  SharedRecord record;
  Replica a(record), b(record);
  record::Intent intent;
  intent.set_caller("c");
  intent.set_request_id("r");
  intent.set_marker("m");
  intent.set_state(record::Intent::PREPARED);
  ASSERT_TRUE(a.Run([&](Draft& draft) {
                 draft.PutIntent(intent);
                 return absl::OkStatus();
               }).ok());
  ASSERT_TRUE(b.Run([&](Draft& draft) {
                 EXPECT_TRUE(draft.FindIntentByMarker("m").has_value());
                 draft.DeleteIntent("c", "r");
                 return absl::OkStatus();
               }).ok());
  ASSERT_TRUE(a.Run([&](Draft& draft) {
                 EXPECT_EQ(*draft.FindIntent("c", "r"), std::nullopt);
                 EXPECT_TRUE(draft.UnsettledIntents().empty());
                 return absl::OkStatus();
               }).ok());
}

TEST(SharedRecord, AnAnswerThatIsLostIsFoundOut) {
  for (const bool written : {true, false}) {
    SharedRecord record;
    Replica a(record);
    record.SetFaults(written ? SharedRecord::Faults{.open_written = 1}
                             : SharedRecord::Faults{.open_lost = 1});
    EXPECT_EQ(a.Put(MakeJob("a")).ok(), written);
    EXPECT_EQ(a.catalog.Find("a") != nullptr, written);
    record.SetFaults({});
    EXPECT_TRUE(a.Put(MakeJob("b")).ok());
    EXPECT_TRUE(a.shown.in_order());
  }
}

// What every process and every caller may rely on, over random faults.
void RunRandomHistory(unsigned seed) {
  SCOPED_TRACE(seed);
  SharedRecord record(seed);
  std::mt19937 random(seed);
  const auto some = [&](double most) {
    return std::uniform_real_distribution<double>(0, most)(random);
  };
  constexpr int kReplicas = 3, kJobs = 4, kRounds = 12;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (int i = 0; i < kReplicas; ++i) {
    replicas.push_back(std::make_unique<Replica>(record));
    ASSERT_TRUE(replicas.back()->loaded.ok());
  }
  record.SetFaults({.refused = some(0.2),
                    .open_written = some(0.3),
                    .open_lost = some(0.3),
                    .still_open = some(0.5),
                    .away = some(0.2)});
  // By job: mutations that were acknowledged, and those that were not.
  std::array<std::atomic<int>, kJobs> done{}, doubtful{};
  std::atomic<int> left = kReplicas * kRounds;
  for (int round = 0; round < kRounds; ++round) {
    for (auto& replica : replicas) {
      const size_t job = random() % kJobs;
      replica->recorder->Record(
          [job, name = std::to_string(round)](Draft& draft) {
            return Increment(draft, std::to_string(job), name);
          },
          [&, job](const absl::Status& status) {
            ++(status.ok() ? done : doubtful)[job];
            --left;
          });
    }
  }
  while (left > 0) std::this_thread::yield();
  record.SetFaults({});
  // A last turn of each brings all of it.
  for (auto& replica : replicas) {
    while (!replica->Put(MakeJob("last")).ok()) {
    }
  }
  for (auto& replica : replicas) {
    ASSERT_TRUE(replica->Run([](Draft&) { return absl::OkStatus(); }).ok());
    ASSERT_EQ(replica->catalog.view()->revision(), record.point().revision);
    ASSERT_TRUE(replica->shown.in_order());
    ASSERT_EQ(replica->shown.count(), record.point().revision) << "each change once";
    for (size_t job = 0; job < kJobs; ++job) {
      const int count = CountOf(replica->catalog, std::to_string(job));
      ASSERT_GE(count, done[job]) << "nothing acknowledged is lost";
      ASSERT_LE(count, done[job] + doubtful[job]) << "nothing is done twice";
    }
  }
}

TEST(SharedRecord, LosesAndDoublesNothingOverRandomFaults) {
  for (unsigned seed = 0; seed < 1'000 && !testing::Test::HasFailure(); ++seed)
    RunRandomHistory(seed);
}

TEST(SharedRecord, AProcessThatSawALostCommitGoesOnFromWhatIsThere) {
  SharedRecord record;
  Replica a(record), b(record);
  ASSERT_TRUE(a.Put(MakeJob("a")).ok());
  const uint64_t kept = record.point().seq;
  const std::string early = EncodeResumeToken(a.catalog.PointAt(1));
  ASSERT_TRUE(a.Put(MakeJob("lost")).ok());
  const std::string late = EncodeResumeToken(a.catalog.PointAt(2));
  record.LoseTail(kept);
  ASSERT_TRUE(a.Put(MakeJob("b")).ok());
  EXPECT_EQ(a.shown.reloads(), 2) << "before and after";
  EXPECT_EQ(a.catalog.Find("lost"), nullptr);
  Replica c(record);
  ASSERT_TRUE(c.Put(MakeJob("c")).ok());
  for (const Replica* replica : {&a, &c}) {
    EXPECT_TRUE(replica->catalog.HasPoint(*DecodeResumeToken(early)));
    EXPECT_FALSE(replica->catalog.HasPoint(*DecodeResumeToken(late)))
        << "though there is a revision 2";
    EXPECT_FALSE(replica->catalog.MayComeTo(*DecodeResumeToken(late)));
  }
  ASSERT_TRUE(a.Run([](Draft&) { return absl::OkStatus(); }).ok());
  EXPECT_EQ(a.catalog.view()->digest(), c.catalog.view()->digest());
}

TEST(SharedRecord, WhatTheDatabaseLostOfSubmissionsIsBroughtBack) {
  SharedRecord record;
  Replica a(record), b(record);
  const auto submit = [&](const std::string& id, record::Intent::State state) {
    record::Intent intent;
    intent.set_caller("c");
    intent.set_request_id(id);
    intent.set_fine_tune_id("job-" + id);
    intent.set_marker("marker-" + id);
    intent.set_state(state);
    (*intent.mutable_fine_tune()->mutable_labels())["team"] = "blue";
    ASSERT_TRUE(a.Run([&](Draft& draft) {
                   intent.set_owner(draft.owner());
                   draft.PutIntent(intent);
                   return absl::OkStatus();
                 }).ok());
  };
  submit("kept", record::Intent::ACCEPTED);
  submit("sent", record::Intent::PREPARED);
  const uint64_t kept = record.point().seq;
  submit("sent", record::Intent::ACCEPTED);
  submit("made", record::Intent::ACCEPTED);
  submit("refused", record::Intent::REFUSED);
  ASSERT_TRUE(b.Run([](Draft&) { return absl::OkStatus(); }).ok());
  record.LoseTail(kept);
  // Whoever comes first, in the same turn.
  ASSERT_TRUE(b.Run([&](Draft& draft) {
                 EXPECT_EQ((*draft.FindIntent("c", "kept"))->state(), record::Intent::ACCEPTED);
                 EXPECT_EQ((*draft.FindIntent("c", "sent"))->state(), record::Intent::UNKNOWN);
                 EXPECT_EQ((*draft.FindIntent("c", "made"))->state(), record::Intent::UNKNOWN);
                 EXPECT_EQ(*draft.FindIntent("c", "refused"), std::nullopt);
                 return absl::OkStatus();
               }).ok());
  ASSERT_TRUE(a.Run([](Draft&) { return absl::OkStatus(); }).ok());
  for (const Replica* replica : {&a, &b}) {
    const VersionPtr job = replica->catalog.Find("job-made");
    ASSERT_NE(job, nullptr);
    EXPECT_EQ(job->state, pb::FineTune::SUBMIT_UNKNOWN);
    EXPECT_EQ(job->creator, "c");
    EXPECT_EQ(job->labels.at("team"), "blue");
  }
  EXPECT_EQ(a.catalog.view()->digest(), b.catalog.view()->digest());
}

TEST(SharedRecord, WhoAsksCatchesUp) {
  SharedRecord record;
  Replica a(record), b(record);
  ASSERT_TRUE(a.Put(MakeJob("a")).ok());
  std::promise<absl::Status> caught_up;
  b.recorder->CatchUp([&](absl::Status status) { caught_up.set_value(std::move(status)); });
  EXPECT_TRUE(caught_up.get_future().get().ok());
  EXPECT_NE(b.catalog.Find("a"), nullptr);
  record.SetFaults({.away = 1});
  std::promise<absl::Status> away;
  b.recorder->CatchUp([&](absl::Status status) { away.set_value(std::move(status)); });
  EXPECT_EQ(ReasonOf(away.get_future().get()), pb::ErrorReason::STORE_UNAVAILABLE);
}

TEST(SharedRecord, WhatAnEndedProcessWasAboutToSubmitIsTakenOver) {
  SharedRecord record;
  auto a = std::make_unique<Replica>(record);
  Replica b(record);
  record::Intent intent;
  intent.set_caller("c");
  intent.set_request_id("r");
  intent.set_fine_tune_id("job");
  intent.set_state(record::Intent::PREPARED);
  ASSERT_TRUE(a->Run([&](Draft& draft) {
                 intent.set_owner(draft.owner());
                 draft.PutIntent(intent);
                 return absl::OkStatus();
               }).ok());
  ASSERT_TRUE(b.Run([](Draft&) { return absl::OkStatus(); }).ok());
  EXPECT_EQ(b.catalog.Find("job"), nullptr) << "its owner lives";
  record.End(intent.owner());
  // Nobody wants anything written: the look at the store that is made now and then does it.
  std::promise<absl::Status> caught_up;
  b.recorder->CatchUp([&](absl::Status status) { caught_up.set_value(std::move(status)); });
  ASSERT_TRUE(caught_up.get_future().get().ok());
  ASSERT_TRUE(b.Run([&](Draft& draft) {
                 EXPECT_EQ((*draft.FindIntent("c", "r"))->state(), record::Intent::UNKNOWN);
                 return absl::OkStatus();
               }).ok());
  EXPECT_EQ(b.catalog.Find("job")->state, pb::FineTune::SUBMIT_UNKNOWN);
}

}  // namespace
}  // namespace finetune
