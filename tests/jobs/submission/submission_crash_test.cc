// Walks the gateway through its own death at every step of a submission, at random: before and
// after each durable write and the POST, with a Segmind that loses answers, answers 5xx after
// taking the job, shows jobs late and truncates bodies, while callers retry the same request_id
// throughout.
//
// FINETUNE_CRASHES sets the number of deaths to walk through (default 300), FINETUNE_SEED the first
// of the random histories.

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>

#include "absl/strings/ascii.h"
#include "server/base/log.h"
#include "server/jobs/record/marker.h"
#include "tests/jobs/passing_store.h"
#include "tests/jobs/rig.h"

namespace finetune {
namespace {

using pb::FineTune;

struct Totals {
  int histories = 0;
  int requests = 0;
  int accepted = 0;
  int calls = 0;
  int posts = 0;
  int crashes = 0;
  int lost_answers = 0;
  int shown_unknown = 0;
  int settled_as_not_submitted = 0;
  int duplicates = 0;
  int false_failures = 0;
  int undecided = 0;  // At the end.
};

// Decides when the process dies. Thread-safe.
class Mortality {
 public:
  Mortality(uint32_t seed, int lives) : random_(seed), lives_(lives) {}

  // Called at each step that may be the process's last. False: it is dead.
  bool Step() {
    MutexLock lock(mu_);
    if (!dead_ && lives_ > 0 && random_() % 8 == 0) {
      dead_ = true;
      --lives_;
    }
    return !dead_;
  }
  bool dead() const {
    MutexLock lock(mu_);
    return dead_;
  }
  void Revive() {
    MutexLock lock(mu_);
    dead_ = false;
  }

 private:
  mutable Mutex mu_;
  std::minstd_rand random_ ABSL_GUARDED_BY(mu_);
  int lives_ ABSL_GUARDED_BY(mu_);
  bool dead_ ABSL_GUARDED_BY(mu_) = false;
};

// A store that the process may die before or after writing to; a dead one writes nothing more.
class MortalStore : public PassingStore {
 public:
  MortalStore(std::unique_ptr<Store> under, Mortality& mortality)
      : PassingStore(std::move(under)), mortality_(mortality) {}
  CommitOutcome Commit(const StoreBatch& batch) override {
    if (!mortality_.Step()) return CommitOutcome::Of(Dead());
    CommitOutcome outcome = PassingStore::Commit(batch);
    return mortality_.Step() ? outcome : CommitOutcome::Of(Dead());
  }
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& request_id) override {
    if (mortality_.dead()) return Dead();
    return PassingStore::FindIntent(caller, request_id);
  }
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) override {
    if (mortality_.dead()) return Dead();
    return PassingStore::CountCreates(caller, since);
  }

 private:
  static absl::Status Dead() {
    return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE, "dead");
  }
  Mortality& mortality_;
};

// One caller: sends its request_id until it has the job, or gives up on a refusal.
struct Caller {
  std::string request_id;
  std::string name;
  bool gives_up_when_refused = false;
  std::optional<CreateReply> call;
  bool done = false;
  std::string fine_tune_id;  // Of the job that it was told last.
  bool refused = false;
};

class History {
 public:
  History(uint32_t seed, const std::string& path, Totals& totals)
      : random_(seed),
        mortality_(seed * 7 + 1, static_cast<int>(seed % 4)),
        path_(path),
        totals_(totals) {
    options_.submitter.markers = seed % 4 != 3;
    SetFates();
    const int requests = 1 + static_cast<int>(random_() % 3);
    for (int i = 0; i < requests; ++i) {
      const int callers = 1 + static_cast<int>(random_() % 2);
      const bool gives_up = random_() % 4 == 0;
      for (int k = 0; k < callers; ++k) {
        Caller caller;
        caller.request_id = absl::StrCat("request-", i);
        caller.name = absl::StrCat("job-", i);
        caller.gives_up_when_refused = gives_up && callers == 1;
        callers_.push_back(std::move(caller));
      }
    }
    totals_.requests += requests;
  }

  void Run() {
    Start();
    for (int i = 0; i < 100'000 && !AllDone(); ++i) {
      if (mortality_.dead()) Restart();
      // A page now and then, which says that it is one.
      if (i % 16 == 0) segmind_.set_page(random_() % 5 == 0 ? random_() % 3 : SIZE_MAX, true);
      for (Caller& caller : callers_) Drive(caller);
      clock_.Advance(absl::Milliseconds(20));
      // Else what one step began is still under way at the next.
      if (random_() % 2 == 0) Worker::AwaitIdleProcess();
    }
    EXPECT_TRUE(AllDone()) << "a caller never came to an end";
    Check();
    process_.reset();
    totals_.posts += segmind_.posts();
    ++totals_.histories;
  }

 private:
  void SetFates() {
    auto random = std::make_shared<std::minstd_rand>(random_());
    segmind_.set_submit_fate([random, this] {
      const uint32_t roll = (*random)() % 100;
      if (roll < 12) return ++totals_.lost_answers, Fate::kLostAfter;
      if (roll < 22) return Fate::kLostBefore;
      if (roll < 30) return ++totals_.lost_answers, Fate::kServerErrorAfter;
      if (roll < 35) return Fate::kServerError;
      if (roll < 42) return ++totals_.lost_answers, Fate::kTruncated;
      if (roll < 46) return ++totals_.lost_answers, Fate::kPageAfter;
      if (roll < 50) return Fate::kRefused;
      if (roll < 52) return Fate::kNoCredits;
      if (roll < 60) return Fate::kNoConnection;
      return Fate::kFine;
    });
    segmind_.set_list_fate([random] {
      const uint32_t roll = (*random)() % 100;
      return roll < 10 ? Fate::kServerError : roll < 15 ? Fate::kTruncated : Fate::kFine;
    });
    segmind_.set_details_fate(
        [random] { return (*random)() % 10 == 0 ? Fate::kServerError : Fate::kFine; });
    segmind_.set_list_delay(
        [random] { return absl::Milliseconds((*random)() % 2 == 0 ? 0 : (*random)() % 2000); });
    segmind_.set_name_change(
        [random](const std::string& name) { return Rename(name, (*random)()); });
    segmind_.set_clock_ahead(absl::Seconds(static_cast<int>((*random)() % 7200) - 3600));
    segmind_.set_submit_hook([this](bool) { return mortality_.Step(); });
  }

  // What becomes of a name at Segmind; the marker does not survive all of it.
  static std::string Rename(std::string name, uint32_t roll) {
    switch (roll % 10) {
      case 0:
        return absl::AsciiStrToUpper(name);
      case 1:
        std::replace(name.begin(), name.end(), '-', '_');
        return name;
      case 2:
        return name.substr(0, 20);
      case 3:
        return name.substr(0, 7);
      case 4:
        return "finetune";
      case 5:
        return name + "-v1";
      default:
        return name;
    }
  }

  void Start() {
    auto store = OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    process_ = std::make_unique<Process>(
        options_, std::make_unique<MortalStore>(*std::move(store), mortality_), segmind_.Connect(),
        clock_);
    if (!process_->Load().ok()) return;  // It died on its way up.
    process_->tracker.Start();
  }

  void Restart() {
    ++totals_.crashes;
    process_.reset();
    for (Caller& caller : callers_) caller.call.reset();  // Their connections broke.
    mortality_.Revive();
    clock_.Advance(absl::Milliseconds(random_() % 500));
    if (random_() % 4 == 0)
      clock_.StepWall(absl::Seconds(static_cast<int>(random_() % 7200) - 3600));
    Start();
  }

  void Drive(Caller& caller) {
    if (caller.done) return;
    if (!caller.call) {
      FineTune fine_tune;
      fine_tune.set_display_name(caller.name);
      fine_tune.set_data_source_uri("https://data.test/" + caller.name);
      fine_tune.set_instance_prompt("prompt of " + caller.name);
      caller.call.emplace();
      ++totals_.calls;
      process_->submitter.Create(
          {.caller = "alice",
           .request_id = caller.request_id,
           .fine_tune = std::move(fine_tune),
           .deadline = clock_.Now() + absl::Milliseconds(500 + random_() % 6000)},
          caller.call->Taker());
      return;
    }
    if (!caller.call->ready()) return;
    const auto answer = caller.call->get();
    // What a dead process says does not leave it.
    if (mortality_.dead()) return;
    caller.call.reset();
    if (answer.ok()) {
      TakeJob(caller, **answer);
    } else {
      TakeError(caller, answer.status());
    }
  }

  void TakeJob(Caller& caller, const FineTuneVersion& version) {
    // Another name is another attempt, after one that is known to have failed.
    if (!caller.fine_tune_id.empty() && version.id != caller.fine_tune_id) {
      const VersionPtr earlier = process_->catalog.Find(caller.fine_tune_id);
      ASSERT_NE(earlier, nullptr);
      EXPECT_EQ(earlier->state, FineTune::FAILED) << "the job's name changed";
    }
    caller.fine_tune_id = version.id;
    if (version.state == FineTune::SUBMIT_UNKNOWN) {
      ++totals_.shown_unknown;
      return;
    }
    if (version.state == FineTune::FAILED) {
      ++totals_.settled_as_not_submitted;
      EXPECT_EQ(ToRecord(version).fine_tune().failure().reason(), pb::Failure::NOT_SUBMITTED);
      // Another call of the same request_id may have submitted again by now.
      caller.fine_tune_id.clear();
      return;
    }
    EXPECT_FALSE(version.upstream_id.empty());
    caller.done = true;
  }

  void TakeError(Caller& caller, const absl::Status& status) {
    EXPECT_NE(ReasonOf(status), pb::ErrorReason::REASON_UNSPECIFIED) << status;
    if (ReasonOf(status) != pb::ErrorReason::UPSTREAM_REJECTED &&
        ReasonOf(status) != pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED)
      return;
    // After a refusal, another attempt is another job.
    caller.fine_tune_id.clear();
    if (!caller.gives_up_when_refused) return;
    caller.refused = caller.done = true;
  }

  bool AllDone() const {
    return !mortality_.dead() && std::all_of(callers_.begin(), callers_.end(),
                                             [](const Caller& caller) { return caller.done; });
  }

  std::vector<FakeJob> JobsNamed(const std::string& name) const {
    std::vector<FakeJob> found;
    for (const FakeJob& job : segmind_.jobs()) {
      if (job.prompt == "prompt of " + name) found.push_back(job);
    }
    return found;
  }

  void Check() {
    std::set<std::string> seen;
    for (const Caller& caller : callers_) {
      const auto jobs = JobsNamed(caller.name);
      const bool first = seen.insert(caller.request_id).second;
      if (caller.refused) {
        EXPECT_TRUE(jobs.empty()) << "refused, and there all the same";
        if (!jobs.empty()) ++totals_.false_failures;
        continue;
      }
      if (first && jobs.size() == 1) ++totals_.accepted;
      if (first && jobs.size() > 1) ++totals_.duplicates;
      EXPECT_EQ(jobs.size(), 1u) << caller.request_id;
      const VersionPtr version = process_->catalog.Find(caller.fine_tune_id);
      ASSERT_NE(version, nullptr);
      if (!jobs.empty()) EXPECT_EQ(version->upstream_id, jobs[0].id);
    }
    for (const auto& family : process_->metrics.registry()->Collect()) {
      if (family.name == "finetune_gateway_submissions_undecided")
        totals_.undecided += static_cast<int>(family.metric[0].gauge.value);
    }
    // Nobody was told of a failure that was none, and no job has two names.
    std::map<std::string, int> records;
    const ViewPtr view = process_->catalog.view();
    for (size_t i = 0; i < view->size(); ++i) {
      const FineTuneVersion& version = *view->at(i);
      if (!version.upstream_id.empty()) ++records[version.upstream_id];
    }
    for (const auto& [id, count] : records) EXPECT_EQ(count, 1) << id;
  }

  std::minstd_rand random_;
  Mortality mortality_;
  const std::string path_;
  Totals& totals_;
  Process::Options options_;
  ManualClock clock_;
  FakeSegmind segmind_{clock_};
  std::unique_ptr<Process> process_;
  std::vector<Caller> callers_;
};

std::string StoreFolder() {
  // A disk that forgets is enough here, and spares the real one thousands of flushes.
  std::string folder = std::filesystem::exists("/dev/shm") ? "/dev/shm" : ::testing::TempDir();
  folder += absl::StrCat("/finetune_crash_", getpid());
  std::filesystem::create_directories(folder);
  return folder;
}

TEST(SubmissionCrash, OneRequestIdMakesOneJobWhateverDies) {
  const char* crashes = std::getenv("FINETUNE_CRASHES");
  const char* first = std::getenv("FINETUNE_SEED");
  const int wanted = crashes == nullptr ? 300 : std::atoi(crashes);
  uint32_t seed = first == nullptr ? 1 : static_cast<uint32_t>(std::atoi(first));
  SetLogLevel(std::getenv("FINETUNE_LOG_ALL") ? LogLevel::kInfo : LogLevel::kError);
  const std::string folder = StoreFolder();
  Totals totals;
  for (; totals.crashes < wanted && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("FINETUNE_SEED=", seed));
    const std::string path = folder + "/store.db";
    for (const char* suffix : {"", "-wal", "-shm", "-mark"}) {
      std::filesystem::remove(path + suffix);
    }
    History(seed, path, totals).Run();
  }
  std::filesystem::remove_all(folder);
  std::cout << "histories " << totals.histories << ", request_ids " << totals.requests
            << ", accepted " << totals.accepted << ", calls " << totals.calls << ", submits sent "
            << totals.posts << ", crashes " << totals.crashes << ", lost answers "
            << totals.lost_answers << ", shown as SUBMIT_UNKNOWN " << totals.shown_unknown
            << ", settled as not submitted " << totals.settled_as_not_submitted << ", duplicates "
            << totals.duplicates << ", false failures " << totals.false_failures << ", undecided "
            << totals.undecided << std::endl;
  EXPECT_EQ(totals.duplicates, 0);
  EXPECT_EQ(totals.false_failures, 0);
}

}  // namespace
}  // namespace finetune
