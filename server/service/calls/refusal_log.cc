#include "server/service/calls/refusal_log.h"

namespace finetune {

RefusalLog::~RefusalLog() {
  Clock::TimerId timer;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    timer = timer_;
  }
  clock_.Cancel(timer);
  WriteCounts();
}

bool RefusalLog::HasOwnLine(const Refused& refused) {
  MutexLock lock(mu_);
  auto found = refusals_.find(refused);
  if (found == refusals_.end()) {
    if (refusals_.size() >= kMost) return true;
    found = refusals_.emplace(refused, 0).first;
    if (timer_ == Clock::kNoTimer) BeginPeriod();
  }
  return ++found->second <= kLinesEach;
}

void RefusalLog::BeginPeriod() {
  timer_ = clock_.RunAfter(kPeriod, [this] { EndPeriod(); });
}

void RefusalLog::EndPeriod() {
  WriteCounts();
  MutexLock lock(mu_);
  if (stopping_) return;
  timer_ = Clock::kNoTimer;
  // More calls were refused in the meantime.
  if (!refusals_.empty()) BeginPeriod();
}

void RefusalLog::WriteCounts() {
  absl::flat_hash_map<Refused, int64_t> counted;
  {
    MutexLock lock(mu_);
    counted.swap(refusals_);
  }
  for (const auto& [refused, count] : counted)
    if (count > kLinesEach) write_count_(refused, count - kLinesEach);
}

}  // namespace finetune
