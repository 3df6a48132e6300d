// Budgets of several gateways that share a record, over random histories: creates anywhere,
// repeats, refusals, lost answers, commits whose answer is lost, deaths, changes of the policy, and
// clocks that are set on over the ends of days, weeks and months.
#include <cstdlib>
#include <random>

#include "server/base/log.h"
#include "tests/jobs/shared_memory_store.h"
#include "tests/jobs/submission/budget_rig.h"

namespace finetune {
namespace {

constexpr int kGateways = 3;
constexpr int kCallsEach = 9;
constexpr SharedRecord::Faults kFaults = {
    .refused = 0.03, .open_written = 0.03, .open_lost = 0.03, .still_open = 0.2, .away = 0.03};

class SharedBudgetHistory : public BudgetRig {
 protected:
  struct Gateway {
    SharedMemoryStore* store = nullptr;  // The process's.
    std::unique_ptr<Process> process;
  };

  void Run(uint32_t seed, const char* zone_name, const char* start_time);

  void Start(Gateway& gateway, FakeSegmind& segmind, bool reads) {
    auto store = std::make_unique<SharedMemoryStore>(*record_);
    gateway.store = store.get();
    gateway.process =
        std::make_unique<Process>(options_, std::move(store), segmind.Connect(), clock_);
    record_->SetFaults({});
    ASSERT_TRUE(gateway.process->Load().ok());
    record_->SetFaults(kFaults);
    if (reads) gateway.process->tracker.Start();
  }
  // As a kill: nobody hears of it any more, and what it owns is taken over.
  void Kill(Gateway& gateway) {
    const std::string name = gateway.store->membership().id();
    gateway.store->membership().Lose(name);
    gateway.process->http->Shutdown();
    record_->End(name);
    record_->Wake();
    gateway.process.reset();
  }
  void ChangePolicy(std::mt19937& random) { rules_ = NewRules(random); }
  CreateReply CreateAt(Process& process, int number) {
    const std::string caller = kCallers[number % 3];
    pb::FineTune job = Request(absl::StrCat("job-", number));
    // Equal for equal ids.
    if (number % 4 != 0) job.set_base_model("FLUX");
    if (number % 2 == 0) (*job.mutable_labels())["project"] = number % 5 == 0 ? "x" : "y";
    CreateReply reply;
    process.submitter.Create({.caller = caller,
                              .spender = SpenderOf(caller),
                              .request_id = absl::StrCat("request-", number),
                              .fine_tune = std::move(job),
                              .deadline = clock_.Now() + absl::Seconds(10)},
                             reply.Taker());
    return reply;
  }
  // By the record alone, once nothing changes it.
  SpendingRows JobsOfRecord() {
    LedgerSum sum;
    std::map<std::string, std::string> records;
    for (const StoredChange& change : record_->log()) records[change.fine_tune_id] = change.after;
    for (const auto& [id, bytes] : records) {
      record::FineTuneRecord record;
      EXPECT_TRUE(record.ParseFromString(bytes));
      sum.Add(record);
    }
    for (const record::Intent& intent : record_->intents()) sum.Add(intent);
    return sum.rows();
  }

  std::unique_ptr<SharedRecord> record_;
};

void SharedBudgetHistory::Run(uint32_t seed, const char* zone_name, const char* start_time) {
  SCOPED_TRACE(absl::StrCat(zone_name, " ", seed));
  std::mt19937 random(seed);
  StandAt(zone_name, start_time);
  if (HasFatalFailure()) return;
  record_ = std::make_unique<SharedRecord>(seed);
  ChangePolicy(random);
  FakeSegmind segmind(clock_);
  segmind.set_submit_fate(Fates(seed));
  std::vector<Gateway> gateways(kGateways);
  for (int i = 0; i < kGateways; ++i) Start(gateways[i], segmind, /*reads=*/i == 0);
  std::vector<std::optional<CreateReply>> calls(kCallsEach);
  for (int round = 0; round < 60 && !HasFailure(); ++round) {
    for (auto& call : calls) {
      if (call && call->ready()) call.reset();
      if (!call)
        call = CreateAt(*gateways[random() % kGateways].process, static_cast<int>(random() % 400));
    }
    RunFor(absl::Milliseconds(static_cast<int64_t>(random() % 1500)), absl::Milliseconds(50));
    EndSomeJobs(random, segmind);
    StepClockAtTimes(random);
    if (random() % 6 == 0) ChangePolicy(random);
    if (random() % 10 == 0) {
      // Never the one that reads.
      Gateway& victim = gateways[1 + random() % (kGateways - 1)];
      calls.assign(kCallsEach, std::nullopt);
      Kill(victim);
      Start(victim, segmind, /*reads=*/false);
    }
    ExpectWithinBudgets(record_->ledger().Read({}), zone_);
  }
  record_->SetFaults({});
  // Once all is settled, what was counted is what Segmind has, and no total says otherwise.
  const auto is_settled = [&] {
    for (const auto& call : calls)
      if (call && !call->ready()) return false;
    for (const record::Intent& intent : record_->intents())
      if (intent.state() < record::Intent::ACCEPTED) return false;
    return true;
  };
  EXPECT_TRUE(RunUntil(is_settled));
  RunFor(absl::Seconds(5));
  for (Gateway& gateway : gateways) gateway.process->Stop();
  const MemoryLedger kept = record_->ledger();
  const SpendingRows ledger = kept.Read({});
  EXPECT_EQ(ledger, JobsOfRecord());
  ExpectWithinBudgets(ledger, zone_);
  int64_t jobs = 0;
  for (const auto& [key, count] : ledger) jobs += count.jobs;
  EXPECT_EQ(jobs, segmind.taken());
  EXPECT_GT(jobs, 10);
  for (const auto& [total, amount] : kept.totals())
    EXPECT_EQ(amount, AmountIn(total, ledger)) << total.subject << " " << total.measure;
  gateways.clear();
}

TEST_F(SharedBudgetHistory, NeverExceedsABudgetAndLeaksNothingOverAllGateways) {
  SetLogLevel(LogLevel::kError);
  Run(1, "UTC", "2026-12-28T20:00:00Z");
  if (std::getenv("FINETUNE_SANITIZER_RUN") != nullptr) return;
  Run(2, "Europe/Berlin", "2026-10-23T20:00:00Z");
  Run(3, "America/New_York", "2026-03-06T20:00:00Z");
  Run(4, "Australia/Lord_Howe", "2026-04-02T20:00:00Z");
}

}  // namespace
}  // namespace finetune
