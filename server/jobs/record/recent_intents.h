#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "server/jobs/record/draft.h"
#include "server/store/store.h"

namespace finetune {

// The submissions that the latest commits wrote, so that a process that has seen them can bring
// back those that a failover loses. Recorder's thread only.
class RecentIntents {
 public:
  // As of the commit with this number, or one before it.
  void Note(uint64_t seq, const record::Intent& intent);
  // Each as the latest commit left it, if that was after this one.
  std::vector<record::Intent> After(uint64_t seq) const;
  // Later commits are gone, and numbers are given out anew from here; what those put is kept, for
  // another failover may lose more.
  void GoBackTo(uint64_t seq);

 private:
  static constexpr size_t kMost = 10'000;
  std::deque<std::pair<uint64_t, record::Intent>> intents_;
};

// Up to which commit this history has what led to `point`: its own number if all of it is there.
uint64_t CommonSeq(const Lineage& lineage, const StorePoint& point, uint64_t latest);

// Puts back a submission that is no longer in the record. The gateway finds out whether Segmind has
// its job; until then its request_id makes no other.
absl::Status BringBack(Draft& draft, const record::Intent& intent, uint64_t read);

}  // namespace finetune
