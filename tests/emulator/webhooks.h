#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulator/call_log.h"
#include "tests/emulator/faults.h"
#include "tests/emulator/job.h"
#include "tests/emulator/mutex.h"
#include "tests/emulator/settings.h"

namespace finetune::emulator {

// False: this change of status is not announced in that vocabulary. Failures never are.
bool IsAnnounced(const std::string& status, const std::string& vocabulary);

// The event's body in one of the shapes: flat, nested, request_id.
std::string WebhookBody(const Job& job, const Settings& settings);

// Posts events to the account's webhook. Events of one job leave in order, unless a fault says
// otherwise. Thread-safe. Owned by main; what it is given must outlive it.
class Webhooks {
 public:
  Webhooks(const LiveSettings* settings, FaultBook* faults, CallLog* log);
  ~Webhooks() { Stop(); }

  // Announces the job's status, if there is a webhook and the vocabulary has the word.
  void Announce(const Job& job);
  // Posts any body.
  void PostRaw(const std::string& job_id, const std::string& event, std::string body);
  // Forgets what is waiting to be posted.
  void Clear();
  void Stop();

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Item {
    std::string job;
    std::string event;
    std::string body;
    int64_t attempt = 1;
  };
  // A queue and its thread. A job's events all go through one of them.
  struct Lane {
    Mutex mu;
    std::condition_variable_any changed;
    std::multimap<Time, Item> due ABSL_GUARDED_BY(mu);
    // Reordered: waits for the job's next event.
    std::map<std::string, Item> held ABSL_GUARDED_BY(mu);
    std::thread thread;
  };

  void Queue(Item item, const std::vector<Fault>& faults);
  void Run(Lane* lane);
  void Deliver(Lane* lane, Item item);

  const LiveSettings* const settings_;
  FaultBook* const faults_;
  CallLog* const log_;
  std::atomic<bool> stopping_{false};
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace finetune::emulator
