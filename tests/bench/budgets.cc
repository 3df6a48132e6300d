// What a budget adds to the commit that records a submission. Prints one JSON object: what a commit
// takes, with and without budgets, after few and after many jobs of the month: CPU time in SQLite,
// elapsed time in PostgreSQL, where it makes a database for each run.
#include <grpcpp/impl/grpc_library.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/submission/budget_check.h"
#include "server/store/postgres_store.h"
#include "server/store/sqlite_store.h"

namespace finetune::bench {
namespace {

double Seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

Spender MakeSpender(bool budgets) {
  auto rules = std::make_shared<SpendingRules>();
  rules->unit = "credits";
  rules->prices = {{.base_micros = 5, .per_step_micros = 1, .default_steps = 1000}};
  if (budgets) {
    constexpr int64_t kMuch = 1'000'000'000'000;
    absl::TimeZone berlin;
    absl::LoadTimeZone("Europe/Berlin", &berlin);
    rules->budgets = {
        {.name = "team",
         .of = Budget::Of::kTeam,
         .subject = "team",
         .period = PeriodKind::kMonth,
         .zone = berlin,
         .money = true,
         .limit = kMuch},
        {.name = "account", .period = PeriodKind::kDay, .zone = berlin, .limit = kMuch}};
  }
  return {.team = "team", .rules = rules};
}

// Where the records are.
struct Place {
  std::string folder;  // Of SQLite's files.
  PgTarget database;   // If it has a URL.

  clockid_t clock() const {
    return database.url.empty() ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  }
  std::unique_ptr<Store> MakeEmpty() const {
    const std::string name = absl::StrReplaceAll(absl::StrCat("b", MakeUuid()), {{"-", ""}});
    if (database.url.empty())
      return OpenSqliteStore(absl::StrCat(folder, "/", name, ".db")).value();
    std::vector<PgRows> rows;
    const absl::Time deadline = SteadyNow() + absl::Seconds(30);
    auto connection = PgConnection::Open(database, deadline).value();
    const std::string make = absl::StrCat("CREATE DATABASE ", name);
    if (!connection->Run({{make.c_str()}}, deadline, rows).ok()) std::abort();
    PgTarget target = database;
    target.url = target.url.substr(0, target.url.rfind('/') + 1) + name;
    return OpenPostgresStore({.target = target}).value();
  }
};

// A record with a month's jobs, and who writes to it.
class Run {
 public:
  Run(const Place& place, bool budgets, int jobs)
      : spender_(MakeSpender(budgets)),
        timer_(place.clock()),
        store_(place.MakeEmpty()),
        recorder_(*store_, catalog_, *clock_, metrics_) {
    if (!recorder_.Load().ok()) std::abort();
    for (int i = 0; i < jobs; ++i) Submit();
  }

  // In microseconds.
  double MeasureCommit() {
    const double start = Seconds(timer_);
    Submit();
    return (Seconds(timer_) - start) * 1e6;
  }

 private:
  // As Submission::Preparation does it.
  void Submit() {
    record::Intent intent;
    intent.set_caller("caller");
    intent.set_request_id(MakeUuid());
    intent.set_fine_tune_id(MakeUuid());
    intent.set_state(record::Intent::PREPARED);
    intent.mutable_fine_tune()->set_display_name("a job");
    intent.mutable_fine_tune()->set_base_model("FAST_FLUX");
    intent.mutable_fine_tune()->set_instance_prompt("a photo of TOK cat");
    intent.mutable_fine_tune()->set_data_source_uri("https://datasets.example/cats.zip");
    std::promise<void> done;
    recorder_.Record(
        [&](Draft& draft) -> absl::Status {
          if (auto found = draft.FindIntent(intent.caller(), intent.request_id()); !found.ok())
            return found.status();
          intent.set_owner(draft.owner());
          *intent.mutable_create_time() = ToProto(draft.now());
          *intent.mutable_charge() = ChargeOf(spender_, intent.fine_tune(), draft.now());
          auto uses = UsesOf(draft, intent.caller(), spender_, {});
          if (!uses.ok()) return uses.status();
          const BudgetVerdict verdict = JudgeCharge(*uses, intent.charge(), draft.now());
          if (!verdict.refusal.ok()) return verdict.refusal;
          draft.PutIntent(intent);
          return absl::OkStatus();
        },
        [&](const absl::Status& status) {
          if (!status.ok()) std::abort();
          done.set_value();
        });
    done.get_future().wait();
  }

  const Spender spender_;
  const clockid_t timer_;
  std::unique_ptr<Clock> clock_ = MakeRealClock();
  Metrics metrics_;
  std::unique_ptr<Store> store_;
  Catalog catalog_{{}, metrics_};
  Recorder recorder_;
};

double Median(std::vector<double>& of) {
  std::nth_element(of.begin(), of.begin() + static_cast<ptrdiff_t>(of.size() / 2), of.end());
  return of[of.size() / 2];
}

// The median commit without budgets and with them. In turns, so that what else the machine does is
// in both.
std::pair<double, double> Measure(const Place& place, int jobs, int repeats) {
  Run without(place, false, jobs), with(place, true, jobs);
  std::vector<double> times_without, times_with;
  for (int i = 0; i < repeats; ++i) {
    times_without.push_back(without.MeasureCommit());
    times_with.push_back(with.MeasureCommit());
  }
  return {Median(times_without), Median(times_with)};
}

}  // namespace
}  // namespace finetune::bench

int main(int argc, char** argv) {
  using namespace finetune::bench;                         // NOLINT: a program of one file.
  const grpc::internal::GrpcLibraryInitializer uses_grpc;  // Its slices, without a server.
  int few = 10, many = 5'000, repeats = 400;
  Place place;
  CLI::App app("Commits submissions, with and without budgets");
  app.add_option("--few", few);
  app.add_option("--many", many);
  app.add_option("--repeats", repeats);
  app.add_option("--postgres_url", place.database.url);
  app.add_option("--password_file", place.database.password_file);
  CLI11_PARSE(app, argc, argv);
  place.folder =
      absl::StrCat(std::filesystem::temp_directory_path().string(), "/budgets-", getpid());
  std::filesystem::create_directories(place.folder);
  const auto [without, with] = Measure(place, few, repeats);
  const auto [without_many, with_many] = Measure(place, many, repeats);
  std::filesystem::remove_all(place.folder);
  std::cout << absl::StrCat("{\"without\": ", without, ", \"with\": ", with,
                            ", \"without_after_many\": ", without_many,
                            ", \"with_after_many\": ", with_many, ", \"many\": ", many, "}\n");
}
