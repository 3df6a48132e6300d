#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <string>
#include <thread>
#include <unordered_map>

#include "tests/emulator/dataset_check.h"
#include "tests/emulator/faults.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/mutex.h"
#include "tests/emulator/settings.h"
#include "tests/emulator/storage_door.h"
#include "tests/emulator/webhooks.h"

namespace finetune::emulator {

// The stage that follows, with those of no length skipped; empty after the last.
std::string NextStage(const std::string& stage, const Settings& settings);

// Walks jobs from REQUESTED to AVAILABLE on a clock that runs time_scale times as fast as real
// time. Thread-safe; the walking happens on its own thread. Owned by main; what it is given must
// outlive it.
class Lifecycle {
 public:
  Lifecycle(const LiveSettings* settings, JobStore* jobs, FaultBook* faults, Webhooks* webhooks,
            DatasetCheck* datasets, const StorageDoor* storage);
  ~Lifecycle() { Stop(); }

  // Lets the job go on from the status that it has.
  void Walk(const std::string& id);
  // Puts the job into `status`, says so by webhook and, if `walk`, lets it go on from there.
  void Enter(const std::string& id, const std::string& status, bool walk);
  // The time scale in the settings has changed.
  void ScaleChanged();
  // Forgets all jobs.
  void Clear();
  void Stop();

 private:
  struct Step {
    std::string id;
    std::string from;  // The step is void if the job is elsewhere by then.
    double earliest = 0;
  };

  // Seconds of the job clock.
  double Now() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run();
  void Take(const Step& step);
  void Schedule(Step step, double delay);
  void StartDatasetCheck(const Job& job);
  void DatasetChecked(const std::string& id, const std::optional<std::string>& error);
  void Fail(const std::string& id, const std::string& from, const std::string& message);

  const LiveSettings* const settings_;
  JobStore* const jobs_;
  FaultBook* const faults_;
  Webhooks* const webhooks_;
  DatasetCheck* const datasets_;
  const StorageDoor* const storage_;

  mutable Mutex mu_;
  std::condition_variable_any changed_;
  // Guarded by mu_.
  std::multimap<double, Step> due_ ABSL_GUARDED_BY(mu_);
  // Jobs whose dataset is being fetched, with the job time at which the stage may end.
  std::unordered_map<std::string, double> checking_ ABSL_GUARDED_BY(mu_);
  double scale_ ABSL_GUARDED_BY(mu_);
  double base_ ABSL_GUARDED_BY(mu_) = 0;
  std::chrono::steady_clock::time_point real_base_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  // The owner's thread only.
  std::thread thread_;
};

}  // namespace finetune::emulator
