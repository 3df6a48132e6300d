#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/emulator/job.h"
#include "tests/emulator/mutex.h"

namespace finetune::emulator {

// One submit that arrived.
struct SubmitRecord {
  WallTime time;
  bool taken = false;
  int code = 0;  // What the application answered; faults may have hidden it from the caller.
  std::string id;
  std::string name;
  std::string body;
};

// One delivery of a webhook.
struct WebhookRecord {
  WallTime time;
  std::string job;
  std::string event;
  std::string outcome;  // An HTTP code, or why there is none.
  std::string body;
};

// What the emulator saw, for those who test against it. Thread-safe. Owned by main.
class CallLog {
 public:
  void AddCall(const std::string& call, const std::string& method, const std::string& path,
               int code, bool answered, bool spoilt, uint64_t bytes_in, uint64_t bytes_out);
  void AddSubmit(SubmitRecord record);
  void AddWebhook(WebhookRecord record);
  void AddLeak();
  void ConnectionOpened();
  void ConnectionClosed();
  void Clear();

  std::string StatsText() const;
  // [second since 1970, API calls within it], for each second that had any.
  std::string SecondsText() const;
  // The newest `limit` of each, oldest first, as JSON arrays.
  std::string CallsText(size_t limit) const;
  std::string SubmitsText(size_t limit, const std::string& name) const;
  std::string WebhooksText(size_t limit, const std::string& job) const;
  // The names that were taken more than once, with their ids.
  std::string DuplicatesText() const;

 private:
  struct Counts {
    int64_t calls = 0;
    int64_t unanswered = 0;
    int64_t spoilt = 0;
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    std::map<int, int64_t> by_code;
  };
  struct CallRecord {
    WallTime time;
    std::string call, method, path;
    int code;
    bool answered;
    bool spoilt;
  };

  void CountMinute(WallTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  // Guarded by mu_.
  std::map<std::string, Counts> counts_ ABSL_GUARDED_BY(mu_);
  std::deque<CallRecord> calls_ ABSL_GUARDED_BY(mu_);
  std::deque<SubmitRecord> submits_ ABSL_GUARDED_BY(mu_);
  std::deque<WebhookRecord> webhooks_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::vector<std::string>> taken_ids_by_name_ ABSL_GUARDED_BY(mu_);
  int64_t submits_taken_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t submits_refused_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t webhooks_posted_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t leaked_keys_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t connections_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t connections_total_ ABSL_GUARDED_BY(mu_) = 0;
  // API calls in each of the last 60 seconds, and the most there ever were in 60.
  std::array<int64_t, 60> seconds_ ABSL_GUARDED_BY(mu_) = {};
  int64_t last_second_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t calls_in_minute_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t most_in_minute_ ABSL_GUARDED_BY(mu_) = 0;
  // The second and its API calls, oldest first.
  std::deque<std::pair<int64_t, int64_t>> by_second_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune::emulator
