#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/base/trace.h"

namespace finetune {

// When a webhook spoke of a job, and in which trace.
struct WebhookHint {
  absl::Time time = absl::InfiniteFuture();
  TraceContext trace;
};

// The jobs that the Tracker is to read by `details`, in what order and at what pace: those that
// somebody waits for at once, a few at a time; the rest one by one, at a pace that leaves the rate
// limit to others. A job is in it once, whatever the reasons. Tracker thread only.
class DetailsQueue {
 public:
  enum Why : unsigned {
    kHint = 1,       // A webhook spoke of it.
    kConfirm = 2,    // A list said something that needs a second word.
    kSettle = 4,     // It may be a submission whose outcome is unknown.
    kGone = 8,       // Lists no longer have it.
    kBackfill = 16,  // Its record lacks what lists do not say.
    kAsked = 32,     // Somebody waits for news of it, and lists do not show it.
    kPending = 64  // What belongs to its new state (FineTune.details_pending) is not known: first.
  };

  struct Task {
    std::string upstream_id;
    unsigned why = 0;
    WebhookHint hint;  // The earliest.
    bool urgent() const { return (why & (kHint | kConfirm | kSettle | kAsked | kPending)) != 0; }
  };

  // One slow task in each such interval.
  void set_slow_interval(absl::Duration interval) { slow_interval_ = interval; }

  // `newness` orders backfills: the greatest first.
  void Add(const std::string& upstream_id, unsigned why, const WebhookHint& hint = {},
           uint64_t newness = 0);

  // The next one that may start now, which is then running until Finish.
  std::optional<Task> Take(absl::Time now);
  void Finish(const Task& task);

  // When Take may give something without an Add or Finish before.
  absl::Time NextStart() const;

 private:
  void AddToLane(const Task& task, unsigned before, uint64_t newness);

  static constexpr int kUrgentAtOnce = 4;

  bool PopUrgent(std::string& id);
  bool PopSlow(std::string& id);

  absl::Duration slow_interval_ = absl::Seconds(5);
  absl::Time next_slow_ = absl::InfinitePast();
  int urgent_running_ = 0;
  int slow_running_ = 0;
  // Not running. The lanes may name jobs that are no longer here.
  absl::flat_hash_map<std::string, Task> pending_;
  // Running, with what was added meanwhile (its `why` is 0 if nothing was).
  absl::flat_hash_map<std::string, Task> again_;
  std::deque<std::string> urgent_lane_;
  std::deque<std::string> gone_lane_;
  std::multimap<uint64_t, std::string, std::greater<>> backfill_lane_;
};

}  // namespace finetune
