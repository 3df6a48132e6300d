#include "tests/emulator/lifecycle.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetune::emulator {
namespace {

constexpr const char* kStages[] = {
    "REQUESTED",          "QUEUED",           "DATA_PROCESSING", "TRAINING_INITIATED",
    "TRAINING_COMPLETED", "INFERENCE_QUEUED", "DEPLOYING",       "AVAILABLE"};

double StageSeconds(const std::string& stage, const Settings& settings) {
  const auto it = settings.stage_seconds.find(stage);
  return it == settings.stage_seconds.end() ? 0 : it->second;
}

bool HasWeights(const std::string& status) {
  const auto* it = std::find(std::begin(kStages), std::end(kStages), status);
  return it != std::end(kStages) && it - std::begin(kStages) >= 4;
}

}  // namespace

std::string NextStage(const std::string& stage, const Settings& settings) {
  if (stage == "RETRIED") return "QUEUED";
  const auto* it = std::find(std::begin(kStages), std::end(kStages), stage);
  if (it == std::end(kStages)) return "";
  for (++it; it != std::end(kStages); ++it) {
    // The dataset is looked at and the result is there however short the stages are.
    const std::string next = *it;
    if (next == "AVAILABLE" || next == "DATA_PROCESSING" || StageSeconds(next, settings) > 0) {
      return next;
    }
  }
  return "";
}

Lifecycle::Lifecycle(const LiveSettings* settings, JobStore* jobs, FaultBook* faults,
                     Webhooks* webhooks, DatasetCheck* datasets, const StorageDoor* storage)
    : settings_(settings),
      jobs_(jobs),
      faults_(faults),
      webhooks_(webhooks),
      datasets_(datasets),
      storage_(storage),
      scale_(settings->Get()->time_scale),
      real_base_(std::chrono::steady_clock::now()),
      thread_([this] { Run(); }) {}

double Lifecycle::Now() const {
  const std::chrono::duration<double> real = std::chrono::steady_clock::now() - real_base_;
  return base_ + real.count() * scale_;
}

void Lifecycle::ScaleChanged() {
  const double scale = settings_->Get()->time_scale;
  MutexLock lock(&mu_);
  base_ = Now();
  real_base_ = std::chrono::steady_clock::now();
  scale_ = scale;
  changed_.notify_one();
}

void Lifecycle::Clear() {
  MutexLock lock(&mu_);
  due_.clear();
  checking_.clear();
}

void Lifecycle::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Lifecycle::Schedule(Step step, double delay) {
  MutexLock lock(&mu_);
  const double at = std::max(Now() + delay, step.earliest);
  due_.emplace(at, std::move(step));
  changed_.notify_one();
}

void Lifecycle::Walk(const std::string& id) {
  const std::optional<Job> job = jobs_->Find(id);
  if (!job) return;
  const double seconds = StageSeconds(job->status, *settings_->Get());
  if (job->status == "DATA_PROCESSING") {
    {
      MutexLock lock(&mu_);
      checking_[job->id] = Now() + seconds;
    }
    StartDatasetCheck(*job);
    return;
  }
  Schedule({job->id, job->status}, seconds);
}

void Lifecycle::Enter(const std::string& id, const std::string& status, bool walk) {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  const std::optional<Job> job = jobs_->Update(id, [&](Job* changed) {
    changed->status = status;
    changed->updated = std::chrono::system_clock::now();
    if (HasWeights(status) && !changed->cloud_storage_url) {
      changed->cloud_storage_url = WeightsUrl(settings->public_url, changed->id);
    }
  });
  if (!job) return;
  webhooks_->Announce(*job);
  if (walk) Walk(id);
}

void Lifecycle::Fail(const std::string& id, const std::string& from, const std::string& message) {
  jobs_->Update(id, [&](Job* job) {
    if (job->status != from) return;
    job->status = "FAILED";
    job->error_message = message;
    job->updated = std::chrono::system_clock::now();
  });
}

void Lifecycle::StartDatasetCheck(const Job& job) {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  if (!settings->check_datasets) {
    DatasetChecked(job.id, std::nullopt);
    return;
  }
  std::vector<std::string> headers = {"User-Agent: segmind-emulator-training"};
  // Segmind reads its own private objects, but FAST_FLUX's training is somebody else's.
  if (job.base_model != "FAST_FLUX" &&
      absl::StartsWith(job.data_source_path, settings->public_url + "/storage/")) {
    headers.push_back(absl::StrCat("x-emulator-training: ", storage_->training_token()));
  }
  datasets_->Check(
      job.data_source_path, std::move(headers),
      [this, id = job.id](std::optional<std::string> error) { DatasetChecked(id, error); });
}

void Lifecycle::DatasetChecked(const std::string& id, const std::optional<std::string>& error) {
  double earliest = 0;
  {
    MutexLock lock(&mu_);
    const auto it = checking_.find(id);
    if (it == checking_.end()) return;
    earliest = it->second;
    checking_.erase(it);
  }
  if (error) {
    Fail(id, "DATA_PROCESSING", *error);
  } else {
    Schedule({id, "DATA_PROCESSING", earliest}, 0);
  }
}

void Lifecycle::Take(const Step& step) {
  const std::optional<Job> job = jobs_->Find(step.id);
  if (!job || job->status != step.from) return;
  std::string next = NextStage(step.from, *settings_->Get());
  if (next.empty()) return;
  const std::string subject = absl::StrCat(job->id, "\n", job->finetune_id, "\n", job->name);
  for (const Fault& fault : faults_->Take({"lifecycle", subject, next})) {
    if (fault.kind == "fail") {
      const bool said = !fault.message.empty();
      Fail(step.id, step.from, said ? fault.message : "Internal Server Error");
      return;
    }
    if (fault.kind == "stick") {
      Enter(step.id, next, false);
      return;
    }
    if (fault.kind == "retried") next = "RETRIED";
  }
  Enter(step.id, next, next != "AVAILABLE");
}

void Lifecycle::Run() {
  mu_.lock();
  while (!stopping_) {
    if (due_.empty() || scale_ <= 0) {
      changed_.wait(mu_);
      continue;
    }
    const auto first = due_.begin();
    const double wait = (first->first - Now()) / scale_;
    if (wait > 0) {
      // Bounded, for a time scale near 0 would overflow the clock.
      changed_.wait_for(mu_, std::chrono::duration<double>(std::min(wait, 3600.0)));
      continue;
    }
    const Step step = std::move(first->second);
    due_.erase(first);
    mu_.unlock();
    Take(step);
    mu_.lock();
  }
  mu_.unlock();
}

}  // namespace finetune::emulator
