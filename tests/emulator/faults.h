#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/emulator/json.h"
#include "tests/emulator/mutex.h"

namespace finetune::emulator {

// One misbehaviour that was asked for. What the parameters mean is said by FaultHelp().
struct Fault {
  int64_t id = 0;
  std::string call;
  std::string kind;
  int64_t count = 1;  // How many calls are still to be spoilt; -1: until cleared.
  int64_t after = 0;  // Matching calls to let pass first.
  double probability = 1;
  std::string job;    // Only calls, or items of a list, of this id, name or path; empty: all.
  std::string stage;  // Only jobs in this status; empty: all.

  double ms = 0;
  double jitter_ms = 0;
  double seconds = 0;
  int64_t code = 0;
  int64_t bytes = -1;
  double fraction = 0.5;
  int64_t list_calls = 0;
  int64_t times = 2;
  int64_t bytes_per_second = 0;
  bool full_content_length = false;
  bool reset = false;
  std::optional<bool> act;
  std::optional<std::string> body;
  std::string content_type;
  std::string status;
  std::string field;
  std::string value_json;
  std::string message;
  std::string url;
  std::string key;
  std::string encoding;
  std::string repeat;
  std::string shape;
  std::string s3_code;
  std::string content;
  std::string retry_after;
  std::map<std::string, std::string> headers;

  int64_t spoilt = 0;  // How many calls it has spoilt.
};

// What a call is, as faults see it.
struct CallSubject {
  std::string call;
  std::string text;   // Ids, names, path: where Fault::job is looked for.
  std::string stage;  // The job's status, if the call concerns one job.
};

// Reads a fault, filling in what the kind implies. Returns what is wrong with it, or nothing.
std::optional<std::string> ParseFault(const rapidjson::Value& object, Fault* fault);
std::string FaultText(const Fault& fault);
// The table of kinds for people.
std::string FaultHelp();

// The faults in force. Thread-safe. Owned by main.
class FaultBook {
 public:
  explicit FaultBook(uint64_t seed) : random_(seed) {}

  // Returns the fault's number.
  int64_t Add(Fault fault);
  bool Remove(int64_t id);
  void Clear();
  std::vector<Fault> All() const;
  // False: Take() would return nothing whatever the call.
  bool any() const { return any_.load(std::memory_order_relaxed); }

  // The faults that this call is to suffer, oldest first; each is used up by one.
  std::vector<Fault> Take(const CallSubject& subject);

 private:
  std::atomic<bool> any_{false};
  mutable Mutex mu_;
  // Guarded by mu_.
  std::vector<Fault> faults_ ABSL_GUARDED_BY(mu_);
  int64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune::emulator
