#include "tests/emulator/webhooks.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "tests/emulator/distort.h"
#include "tests/emulator/fetch.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

constexpr int kLanes = 4;
constexpr const char* kModelWords[] = {"TRAINING_COMPLETED", "INFERENCE_QUEUED", "AVAILABLE"};
constexpr const char* kWebhookWords[] = {"DATA_PROCESSING", "TRAINING_INITIATED",
                                         "TRAINING_COMPLETED", "DEPLOYING", "AVAILABLE"};
// How long a reordered event waits for the next one of its job.
constexpr std::chrono::seconds kLongestHold{30};

template <typename Words>
bool Has(const Words& words, const std::string& status) {
  return std::find(std::begin(words), std::end(words), status) != std::end(words);
}

}  // namespace

bool IsAnnounced(const std::string& status, const std::string& vocabulary) {
  return vocabulary == "model" ? Has(kModelWords, status) : Has(kWebhookWords, status);
}

std::string WebhookBody(const Job& job, const Settings& settings) {
  ObjectText facts;
  facts.Add(settings.webhook_shape == "request_id" ? "request_id" : "finetune_id", job.finetune_id)
      .Add("name", job.name)
      .Add("status", job.status)
      .Add("base_model", job.base_model);
  if (job.cloud_storage_url) facts.Add("trained_model_url", job.cloud_storage_url);
  if (job.status == "AVAILABLE") {
    facts.Add("inference_api_url", absl::StrCat(settings.public_url, "/v1/", job.slug));
  }
  if (settings.webhook_shape == "nested") {
    return ObjectText().Add("event_type", job.status).AddRaw("data", facts.Text()).Text();
  }
  return settings.webhook_shape == "flat" ? facts.Add("event", job.status).Text() : facts.Text();
}

Webhooks::Webhooks(const LiveSettings* settings, FaultBook* faults, CallLog* log)
    : settings_(settings), faults_(faults), log_(log) {
  for (int i = 0; i < kLanes; ++i) {
    lanes_.push_back(std::make_unique<Lane>());
    Lane* lane = lanes_.back().get();
    lane->thread = std::thread([this, lane] { Run(lane); });
  }
}

void Webhooks::Announce(const Job& job) {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  if (settings->webhook_url.empty() || !IsAnnounced(job.status, settings->webhook_vocabulary)) {
    return;
  }
  const std::vector<Fault> faults = faults_->Take(
      {"webhook", absl::StrCat(job.id, "\n", job.finetune_id, "\n", job.name), job.status});
  Item item{job.id, job.status, WebhookBody(job, *settings)};
  for (const Fault& fault : faults) item.body = DistortBody(fault, item.body);
  Queue(std::move(item), faults);
}

void Webhooks::PostRaw(const std::string& job_id, const std::string& event, std::string body) {
  Queue({job_id, event, std::move(body)}, {});
}

void Webhooks::Queue(Item item, const std::vector<Fault>& faults) {
  int64_t copies = 1;
  Time at = std::chrono::steady_clock::now();
  bool hold = false;
  for (const Fault& fault : faults) {
    if (fault.kind == "webhook_lost") copies = 0;
    if (fault.kind == "webhook_duplicate" && copies > 0) copies = std::max<int64_t>(fault.times, 1);
    if (fault.kind == "webhook_late") at += std::chrono::milliseconds(int64_t(fault.ms));
    if (fault.kind == "webhook_reordered") hold = true;
  }
  if (copies == 0) {
    log_->AddWebhook({std::chrono::system_clock::now(), item.job, item.event, "lost", item.body});
    return;
  }
  Lane* lane = lanes_[std::hash<std::string>()(item.job) % lanes_.size()].get();
  MutexLock lock(&lane->mu);
  const auto held = lane->held.find(item.job);
  if (hold && held == lane->held.end()) {
    lane->held[item.job] = item;
    // A hold that nothing ends is ended by time: an empty event of that job.
    lane->due.emplace(at + kLongestHold, Item{item.job, "", ""});
    lane->changed.notify_one();
    return;
  }
  for (int64_t i = 0; i < copies; ++i) lane->due.emplace(at, item);
  if (held != lane->held.end()) {
    lane->due.emplace(at, std::move(held->second));
    lane->held.erase(held);
  }
  lane->changed.notify_one();
}

void Webhooks::Clear() {
  for (const auto& lane : lanes_) {
    MutexLock lock(&lane->mu);
    lane->due.clear();
    lane->held.clear();
  }
}

void Webhooks::Stop() {
  stopping_ = true;
  for (const auto& lane : lanes_) {
    {
      MutexLock lock(&lane->mu);
      lane->changed.notify_one();
    }
    if (lane->thread.joinable()) lane->thread.join();
  }
}

void Webhooks::Run(Lane* lane) {
  while (!stopping_) {
    Item item;
    {
      MutexLock lock(&lane->mu);
      if (stopping_) return;
      if (lane->due.empty()) {
        lane->changed.wait(lane->mu);
        continue;
      }
      const auto first = lane->due.begin();
      const Time at = first->first;
      if (at > std::chrono::steady_clock::now()) {
        lane->changed.wait_until(lane->mu, at);
        continue;
      }
      item = std::move(first->second);
      lane->due.erase(first);
      if (item.event.empty()) {
        const auto held = lane->held.find(item.job);
        if (held == lane->held.end()) continue;
        item = std::move(held->second);
        lane->held.erase(held);
      }
    }
    Deliver(lane, std::move(item));
  }
}

void Webhooks::Deliver(Lane* lane, Item item) {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  if (settings->webhook_url.empty()) return;
  FetchRequest request;
  request.method = "POST";
  request.url = settings->webhook_url;
  request.headers = {"Content-Type: application/json", "User-Agent: Segmind-Webhook/1.0"};
  request.body = item.body;
  request.timeout_seconds = 10;
  request.cancelled = &stopping_;
  const FetchResult result = Fetch(request);
  const std::string outcome = result.code != 0 ? std::to_string(result.code) : result.failure;
  log_->AddWebhook({std::chrono::system_clock::now(), item.job, item.event, outcome, item.body});
  const bool accepted = result.code >= 200 && result.code < 300;
  if (accepted || item.attempt >= settings->webhook_attempts) return;
  const auto pause = std::chrono::seconds(1 << std::min<int64_t>(item.attempt - 1, 6));
  ++item.attempt;
  MutexLock lock(&lane->mu);
  lane->due.emplace(std::chrono::steady_clock::now() + pause, std::move(item));
}

}  // namespace finetune::emulator
