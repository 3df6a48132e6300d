#include "server/idle_memory.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

namespace finetune {
namespace {

constexpr absl::Duration kSoon = absl::Seconds(10);
constexpr absl::Duration kLater = absl::Minutes(1);
// Less than this is not worth the work.
constexpr int64_t kSlack = int64_t{16} << 20;

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  return statm >> pages >> resident ? resident * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace

IdleMemory::IdleMemory(Clock& clock, Metrics& metrics)
    : IdleMemory(clock, metrics, {ResidentBytes, [] { malloc_trim(0); }}) {}

IdleMemory::IdleMemory(Clock& clock, Metrics& metrics, Process process)
    : clock_(clock),
      process_(std::move(process)),
      returned_(metrics.Counter("finetune_gateway_memory_returned_bytes_total",
                                "Memory given back to the system after it was needed.")),
      interval_(kSoon) {}

IdleMemory::~IdleMemory() {
  Clock::TimerId timer;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    timer = timer_;
  }
  clock_.Cancel(timer);
  worker_.Stop();
}

void IdleMemory::Start() {
  // There may be a wave of calls before the first look.
  if (const int64_t now = process_.resident_bytes(); now > 0) least_ = now;
  Schedule(kSoon);
}

void IdleMemory::Schedule(absl::Duration after) {
  MutexLock lock(mu_);
  if (stopping_) return;
  timer_ = clock_.RunAfter(after, [this] { worker_.Post([this] { Schedule(Look()); }); });
}

absl::Duration IdleMemory::Look() {
  const int64_t before = process_.resident_bytes();
  if (before <= 0) return kLater;
  if (least_ == INT64_MAX || before <= least_ + least_ / 4 + kSlack) {
    least_ = std::min(least_, before);
    return interval_ = kSoon;
  }
  process_.trim();
  const int64_t after = process_.resident_bytes();
  if (after < before) returned_.Increment(static_cast<double>(before - after));
  least_ = std::min(least_, after);
  // If most of it is in use, it will be for a while.
  interval_ = after <= before - kSlack ? kSoon : std::min(interval_ * 2, kLater);
  return interval_;
}

}  // namespace finetune
