#include "tests/emulator/call_log.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

// What is kept in full; counts go on beyond it.
constexpr size_t kMostCalls = 20000;
constexpr size_t kMostSubmits = 200000;
constexpr size_t kMostWebhooks = 50000;
constexpr size_t kMostSeconds = 86400;

std::string Array(const std::vector<std::string>& items) {
  std::string text = "[";
  for (const std::string& item : items) {
    if (text.size() > 1) text += ",\n";
    text += item;
  }
  return text + "]";
}

// The texts of the newest `limit` records that `keep` accepts, oldest first.
template <typename Record, typename Keep, typename Render>
std::string Newest(const std::deque<Record>& records, size_t limit, Keep keep, Render render) {
  std::vector<std::string> items;
  for (auto it = records.rbegin(); it != records.rend() && items.size() < limit; ++it) {
    if (keep(*it)) items.push_back(render(*it));
  }
  std::reverse(items.begin(), items.end());
  return Array(items);
}

}  // namespace

void CallLog::CountMinute(WallTime now) {
  const int64_t second =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (second - last_second_ >= 60) {
    seconds_.fill(0);
    calls_in_minute_ = 0;
    last_second_ = second;
  }
  while (last_second_ < second) {
    int64_t& oldest = seconds_[++last_second_ % 60];
    calls_in_minute_ -= oldest;
    oldest = 0;
  }
  ++seconds_[second % 60];
  most_in_minute_ = std::max(most_in_minute_, ++calls_in_minute_);
  if (by_second_.empty() || by_second_.back().first < second) by_second_.emplace_back(second, 0);
  ++by_second_.back().second;
  if (by_second_.size() > kMostSeconds) by_second_.pop_front();
}

void CallLog::AddCall(const std::string& call, const std::string& method, const std::string& path,
                      int code, bool answered, bool spoilt, uint64_t bytes_in, uint64_t bytes_out) {
  const WallTime now = std::chrono::system_clock::now();
  MutexLock lock(&mu_);
  if (!absl::StrContains(call, "_get") && call != "storage_put") CountMinute(now);
  Counts& counts = counts_[call];
  ++counts.calls;
  counts.spoilt += spoilt;
  counts.bytes_in += bytes_in;
  if (answered) {
    ++counts.by_code[code];
    counts.bytes_out += bytes_out;
  } else {
    ++counts.unanswered;
  }
  calls_.push_back({now, call, method, path, code, answered, spoilt});
  if (calls_.size() > kMostCalls) calls_.pop_front();
}

void CallLog::AddSubmit(SubmitRecord record) {
  MutexLock lock(&mu_);
  if (record.taken) {
    ++submits_taken_;
    taken_ids_by_name_[record.name].push_back(record.id);
  } else {
    ++submits_refused_;
  }
  submits_.push_back(std::move(record));
  if (submits_.size() > kMostSubmits) submits_.pop_front();
}

void CallLog::AddWebhook(WebhookRecord record) {
  MutexLock lock(&mu_);
  ++webhooks_posted_;
  webhooks_.push_back(std::move(record));
  if (webhooks_.size() > kMostWebhooks) webhooks_.pop_front();
}

void CallLog::AddLeak() {
  MutexLock lock(&mu_);
  ++leaked_keys_;
}

void CallLog::ConnectionOpened() {
  MutexLock lock(&mu_);
  ++connections_;
  ++connections_total_;
}

void CallLog::ConnectionClosed() {
  MutexLock lock(&mu_);
  --connections_;
}

void CallLog::Clear() {
  MutexLock lock(&mu_);
  counts_.clear();
  calls_.clear();
  submits_.clear();
  webhooks_.clear();
  taken_ids_by_name_.clear();
  submits_taken_ = submits_refused_ = webhooks_posted_ = leaked_keys_ = 0;
  connections_total_ = connections_;
  seconds_.fill(0);
  calls_in_minute_ = most_in_minute_ = 0;
  by_second_.clear();
}

std::string CallLog::StatsText() const {
  MutexLock lock(&mu_);
  ObjectText calls;
  int64_t total = 0;
  for (const auto& [name, counts] : counts_) {
    ObjectText codes;
    for (const auto& [code, count] : counts.by_code) codes.Add(std::to_string(code), count);
    total += counts.calls;
    calls.AddRaw(name, ObjectText()
                           .Add("calls", counts.calls)
                           .Add("unanswered", counts.unanswered)
                           .Add("spoilt", counts.spoilt)
                           .Add("bytes_in", static_cast<int64_t>(counts.bytes_in))
                           .Add("bytes_out", static_cast<int64_t>(counts.bytes_out))
                           .AddRaw("by_code", codes.Text())
                           .Text());
  }
  int64_t duplicates = 0;
  for (const auto& [name, ids] : taken_ids_by_name_) duplicates += ids.size() > 1;
  return ObjectText()
      .AddRaw("calls", calls.Text())
      .Add("total_calls", total)
      .Add("most_api_calls_in_a_minute", most_in_minute_)
      .Add("submits_taken", submits_taken_)
      .Add("submits_refused", submits_refused_)
      .Add("names_taken_twice", duplicates)
      .Add("webhooks_posted", webhooks_posted_)
      .Add("keys_leaked_to_storage", leaked_keys_)
      .Add("connections_open", connections_)
      .Add("connections_total", connections_total_)
      .Text();
}

std::string CallLog::SecondsText() const {
  std::vector<std::string> items;
  MutexLock lock(&mu_);
  for (const auto& [second, calls] : by_second_) {
    items.push_back("[" + std::to_string(second) + "," + std::to_string(calls) + "]");
  }
  return Array(items);
}

std::string CallLog::CallsText(size_t limit) const {
  MutexLock lock(&mu_);
  return Newest(
      calls_, limit, [](const CallRecord&) { return true; },
      [](const CallRecord& record) {
        return ObjectText()
            .Add("time", TimeText(record.time, true))
            .Add("call", record.call)
            .Add("method", record.method)
            .Add("path", record.path)
            .Add("code", static_cast<int64_t>(record.code))
            .AddBool("answered", record.answered)
            .AddBool("spoilt", record.spoilt)
            .Text();
      });
}

std::string CallLog::SubmitsText(size_t limit, const std::string& name) const {
  MutexLock lock(&mu_);
  return Newest(
      submits_, limit,
      [&](const SubmitRecord& record) { return absl::StrContains(record.name, name); },
      [](const SubmitRecord& record) {
        ObjectText text;
        text.Add("time", TimeText(record.time, true))
            .AddBool("taken", record.taken)
            .Add("code", static_cast<int64_t>(record.code))
            .Add("id", record.id)
            .Add("name", record.name);
        if (ParseJson(record.body)) return text.AddRaw("body", record.body).Text();
        return text.Add("body_text", record.body).Text();
      });
}

std::string CallLog::WebhooksText(size_t limit, const std::string& job) const {
  MutexLock lock(&mu_);
  return Newest(
      webhooks_, limit,
      [&](const WebhookRecord& record) { return job.empty() || record.job == job; },
      [](const WebhookRecord& record) {
        return ObjectText()
            .Add("time", TimeText(record.time, true))
            .Add("job", record.job)
            .Add("event", record.event)
            .Add("outcome", record.outcome)
            .Add("body", record.body)
            .Text();
      });
}

std::string CallLog::DuplicatesText() const {
  MutexLock lock(&mu_);
  std::vector<std::string> items;
  for (const auto& [name, ids] : taken_ids_by_name_) {
    if (ids.size() < 2) continue;
    std::vector<std::string> quoted;
    for (const std::string& id : ids) quoted.push_back(Quoted(id));
    items.push_back(ObjectText().Add("name", name).AddRaw("ids", Array(quoted)).Text());
  }
  return Array(items);
}

}  // namespace finetune::emulator
