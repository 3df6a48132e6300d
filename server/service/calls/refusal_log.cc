#include "server/service/calls/refusal_log.h"

#include "absl/strings/str_cat.h"

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

bool RefusalLog::HasOwnLine(pb::ErrorReason::Reason reason, const std::string& caller) {
  if (reason != pb::ErrorReason::CLIENT_QUOTA_EXCEEDED && reason != pb::ErrorReason::OVERLOADED)
    return true;
  const std::string key = absl::StrCat(static_cast<int>(reason), "/", caller);
  MutexLock lock(mu_);
  auto found = refusals_.find(key);
  if (found == refusals_.end()) {
    if (refusals_.size() >= kMost) return true;
    found = refusals_.emplace(key, Refusals{reason, caller}).first;
    if (timer_ == Clock::kNoTimer) BeginPeriod();
  }
  return ++found->second.count <= kLinesEach;
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
  absl::flat_hash_map<std::string, Refusals> counted;
  {
    MutexLock lock(mu_);
    counted.swap(refusals_);
  }
  for (const auto& [key, refusals] : counted) {
    if (refusals.count <= kLinesEach) continue;
    write_count_(refusals.reason, refusals.caller, refusals.count - kLinesEach);
  }
}

}  // namespace finetune
