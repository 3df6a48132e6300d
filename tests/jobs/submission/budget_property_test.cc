// Budgets over random histories: creates, refusals, lost answers, repeats, deaths, changes of the
// policy, and a clock that is set on over the ends of days, weeks and months, and back.

#include <filesystem>
#include <random>

#include "server/base/log.h"
#include "server/base/time_proto.h"
#include "tests/jobs/submission/budget_rig.h"

namespace finetune {
namespace {

constexpr int kCalls = 8;

class BudgetHistory : public BudgetRig {
 protected:
  void Run(uint32_t seed, const char* zone_name, const char* start_time);

  void ChangePolicy(std::mt19937& random) {
    auto rules = NewRules(random);
    // One that comes and goes, and changes its size: only counted right, for it may be below its
    // use.
    if (random() % 2 == 0)
      rules->budgets.push_back({.name = "extra",
                                .of = Budget::Of::kTeam,
                                .subject = "sea",
                                .period = PeriodKind::kMonth,
                                .zone = absl::UTCTimeZone(),
                                .limit = static_cast<int64_t>(random() % 20)});
    rules_ = std::move(rules);
  }

  CreateReply CreateAs(const std::string& caller, const std::string& request_id, int number) {
    pb::FineTune job = Request(request_id);
    // Equal for equal ids.
    if (number % 3 != 0) job.set_base_model("FLUX");
    if (number % 2 == 0) (*job.mutable_labels())["project"] = number % 4 == 0 ? "x" : "y";
    CreateReply reply;
    process_->submitter.Create({.caller = caller,
                                .spender = SpenderOf(caller),
                                .request_id = request_id,
                                .fine_tune = std::move(job),
                                .deadline = clock_.Now() + absl::Seconds(10)},
                               reply.Taker());
    return reply;
  }

  // All of it, as of one commit.
  struct Snapshot {
    SpendingRows ledger;
    LedgerSum sum;
    std::vector<CountedJob> jobs;
    std::map<TotalKey, int64_t> totals;
  };
  Snapshot Look(const std::vector<TotalKey>& keys) {
    auto snapshot = std::make_shared<Snapshot>();
    Reply<absl::Status> reply;
    process_->recorder.Record(
        [&, snapshot](Draft& draft) {
          snapshot->ledger = draft.ReadSpending({}).value();
          const ViewPtr view = process_->catalog.view();
          for (size_t i = 0; i < view->size(); ++i) {
            const auto record = ToRecord(*view->at(i));
            snapshot->sum.Add(record);
            if (const auto counted = CountedOf(record)) snapshot->jobs.push_back(*counted);
          }
          for (const record::Intent& intent : draft.UnsettledIntents()) {
            snapshot->sum.Add(intent);
            if (process_->catalog.Find(intent.fine_tune_id()) == nullptr)
              snapshot->jobs.push_back(*CountedOf(intent));
          }
          const auto totals = draft.TotalsOf(keys).value();
          for (size_t i = 0; i < keys.size(); ++i) snapshot->totals[keys[i]] = totals[i];
          return absl::OkStatus();
        },
        reply.Taker());
    EXPECT_TRUE(RunUntil([&] { return reply.ready(); }));
    return *snapshot;
  }

  // Whether the ledger is the sum of all jobs, and totals are sums of the ledger.
  static bool IsConsistent(const Snapshot& seen) {
    for (const auto& [key, amount] : seen.totals)
      if (amount != AmountIn(key, seen.ledger)) return false;
    return seen.ledger == seen.sum.rows();
  }

  void Check() {
    std::vector<TotalKey> keys;
    for (const char* subject : {"account", "team:art", "team:sea", "caller:bob", "label:project=x"})
      for (const char* measure : {"jobs", "open", "unit:credits"})
        keys.push_back({.subject = subject, .measure = measure});
    Snapshot seen = Look(keys);
    // A look may share its commit with others, whose part of it the draft shows and the catalog
    // does not yet.
    for (int i = 0; i < 50 && !IsConsistent(seen); ++i) seen = Look(keys);
    EXPECT_EQ(seen.ledger, seen.sum.rows());
    for (const auto& [key, amount] : seen.totals)
      EXPECT_EQ(amount, AmountIn(key, seen.ledger)) << key.subject << " " << key.measure;
    SpendingRows jobs;
    for (const CountedJob& job : seen.jobs) jobs[job.key] += job.count;
    ExpectWithinBudgets(jobs, zone_);
  }
};

void BudgetHistory::Run(uint32_t seed, const char* zone_name, const char* start_time) {
  SCOPED_TRACE(absl::StrCat(zone_name, " ", seed));
  std::mt19937 random(seed);
  StandAt(zone_name, start_time);
  if (HasFatalFailure()) return;
  ChangePolicy(random);
  FakeSegmind segmind(clock_);
  segmind.set_submit_fate(Fates(seed));
  KeepStore("budgets");
  const auto restart = [&] {
    process_.reset();
    auto store = OpenSqliteStore(store_path_);
    ASSERT_TRUE(store.ok()) << store.status();
    process_ = std::make_unique<Process>(options_, *std::move(store), segmind.Connect(), clock_);
    ASSERT_TRUE(process_->Load().ok());
    process_->tracker.Start();
  };
  restart();
  std::vector<std::optional<CreateReply>> calls(kCalls);
  for (int round = 0; round < 60 && !HasFailure(); ++round) {
    for (auto& call : calls) {
      if (call && call->ready()) call.reset();
      if (call) continue;
      const int number = static_cast<int>(random() % 400);
      const char* caller = kCallers[number % 3];
      call = CreateAs(caller, absl::StrCat("request-", number), number);
    }
    RunFor(absl::Milliseconds(static_cast<int64_t>(random() % 1500)), absl::Milliseconds(50));
    EndSomeJobs(random, segmind);
    StepClockAtTimes(random);
    if (random() % 6 == 0) ChangePolicy(random);
    if (random() % 15 == 0) {
      calls.assign(kCalls, std::nullopt);
      restart();
    }
    Check();
  }
  // Once all is settled, what was counted is what Segmind has.
  const auto is_settled = [&] {
    for (const auto& call : calls)
      if (call && !call->ready()) return false;
    return !process_->recorder.has_unsettled();
  };
  EXPECT_TRUE(RunUntil(is_settled));
  Check();
  EXPECT_EQ(static_cast<int>(Look({}).jobs.size()), segmind.taken());
  EXPECT_GT(segmind.taken(), 10);
  process_.reset();
  RemoveStore();
}

TEST_F(BudgetHistory, NeverExceedsABudgetAndLeaksNothing) {
  SetLogLevel(LogLevel::kError);
  Run(1, "UTC", "2026-12-28T20:00:00Z");
  Run(2, "Europe/Berlin", "2026-03-27T20:00:00Z");
  Run(3, "America/New_York", "2026-10-30T20:00:00Z");
  Run(4, "Africa/Cairo", "2026-04-22T20:00:00Z");
  Run(5, "Asia/Kathmandu", "2026-02-26T12:00:00Z");
}

}  // namespace
}  // namespace finetune
