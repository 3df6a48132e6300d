#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/base/fair_share.h"

namespace finetune {

// Which calls of one account's minute go first.
enum class CallPriority { kSubmit, kInteractive, kBackground };

// What is asked for, and for whom: null for the gateway's own.
struct CallWant {
  CallPriority priority;
  std::shared_ptr<Sharer> sharer;
};

// The calls that one of the rate limit's bounds concerns.
enum class CallGroup { kAll, kOfCallers, kNotSubmits, kSubmits, kInteractive, kBackground };
constexpr size_t kCallGroups = 6;

// Whether calls of that priority are in the group.
bool IsIn(CallGroup group, CallPriority priority);
// Those of that priority alone.
CallGroup GroupOf(CallPriority priority);
// Calls `look` with the number of each group that calls of that priority are in.
template <typename Look>
void ForEachGroupOf(CallPriority priority, const Look& look) {
  for (size_t group = 0; group < kCallGroups; ++group)
    if (IsIn(static_cast<CallGroup>(group), priority)) look(group);
}

// The calls of the last minute with their times, in groups and by caller, so that to look one up
// costs the same however many there are. Not thread-safe.
class MadeCalls {
 public:
  struct Call {
    absl::Time time;
    CallWant want;
    uint64_t id = 0;  // The CallBudget's.
  };
  using Times = std::deque<absl::Time>;  // Oldest first.

  // `call` is no older than the ones before it.
  void Add(Call call);
  // The latest call's id.
  void SetLastId(uint64_t id) { calls_.back().id = id; }
  // Forgets those made at `time` or before.
  void ForgetUntil(absl::Time time);
  // All of them, which are forgotten.
  std::deque<Call> Take();

  const Times& In(CallGroup group) const { return groups_[static_cast<size_t>(group)]; }
  // None for null.
  const Times& By(const Sharer* sharer) const;

 private:
  std::deque<Call> calls_;
  std::array<Times, kCallGroups> groups_;
  absl::flat_hash_map<const Sharer*, Times> by_sharer_;
};

}  // namespace finetune
