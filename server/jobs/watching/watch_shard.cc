#include "server/jobs/watching/watch_shard.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "server/jobs/watching/watch_message.h"

namespace finetune {
namespace {

// Timers that come this close together are run together.
constexpr absl::Duration kTick = absl::Milliseconds(10);

}  // namespace

WatchShard::WatchShard(std::string name, std::shared_ptr<WatchContext> context,
                       std::shared_ptr<WatchWaiter> waiter)
    : name_(std::move(name)), context_(std::move(context)), waiter_(std::move(waiter)) {}

WatchShard::~WatchShard() { Stop(); }

void WatchShard::Start() {
  thread_ = std::make_unique<Thread>(name_, [this] { Run(); });
}

void WatchShard::Stop() {
  std::vector<WatchIndex::WatcherPtr> left;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    left = index_.All();
  }
  waiter_->Wake();
  if (thread_ != nullptr) thread_->Join();
  thread_ = nullptr;
  for (const auto& watcher : left) watcher->End(WatchEnds("this server is going away"));
}

void WatchShard::Enqueue(absl::Span<const ChangePtr> changes) {
  {
    MutexLock lock(mu_);
    if (stopping_) return;
    queue_.insert(queue_.end(), changes.begin(), changes.end());
  }
  waiter_->Wake();
}

void WatchShard::Add(const std::shared_ptr<ShardWatcher>& watcher) {
  {
    MutexLock lock(mu_);
    index_.Add(watcher);
    AddTimerLocked({watcher->first_timer(), watcher});
  }
  ArmClock();
}

void WatchShard::Remove(const ShardWatcher& watcher) {
  WatchIndex::WatcherPtr removed;  // Dropped after the lock.
  MutexLock lock(mu_);
  index_.Remove(watcher, removed);
}

bool WatchShard::Await() {
  while (true) {
    {
      MutexLock lock(mu_);
      busy_ = !stopping_ && (!queue_.empty() || clock_rang_);
      if (busy_) return true;
      idle_.NotifyAll();
      if (stopping_) return false;
    }
    waiter_->Wait();
  }
}

void WatchShard::Run() {
  DeliveryTally tally(context_->metrics);
  std::vector<ChangePtr> batch;
  while (Await()) {
    // Read before the queue is taken: what that read of Segmind changed was committed and queued
    // before the catalog said that it was observed.
    const absl::Time observed = context_->catalog.observe_time();
    {
      MutexLock lock(mu_);
      batch.swap(queue_);
      clock_rang_ = false;
      working_ = true;
    }
    for (const ChangePtr& change : batch) Dispatch(change, tally);
    batch.clear();
    {
      MutexLock lock(mu_);
      working_ = false;
      covered_ = std::max(covered_, observed);
    }
    RunTimers(tally);
    tally.Flush();
  }
}

void WatchShard::Dispatch(const ChangePtr& change, DeliveryTally& tally) {
  {
    MutexLock lock(mu_);
    index_.Find(*change, hits_);
  }
  for (const WatchIndex::Hit& hit : hits_) hit.watcher->Deliver(change, hit.match, tally);
  hits_.clear();
  MutexLock lock(mu_);
  dispatched_ = change->revision();
}

grpc::ByteBuffer WatchShard::Heartbeat(uint64_t floor) {
  const absl::Time observed = context_->catalog.observe_time();
  MutexLock lock(mu_);
  // As in Run.
  if (!working_ && queue_.empty()) covered_ = std::max(covered_, observed);
  const uint64_t revision = std::max(floor, dispatched_);
  if (revision != heartbeat_revision_ || covered_ != heartbeat_covered_ || !heartbeat_.Valid()) {
    heartbeat_ =
        EncodeHeartbeat(context_->catalog.PointAt(revision), context_->clock.ToWall(covered_));
    heartbeat_revision_ = revision;
    heartbeat_covered_ = covered_;
  }
  return heartbeat_;
}

// ---- Time ----

void WatchShard::AddTimerLocked(Timer timer) {
  timers_.push_back(std::move(timer));
  std::push_heap(timers_.begin(), timers_.end());
}

bool WatchShard::TimerDueLocked(absl::Time now) const {
  return !timers_.empty() && timers_.front().when <= now;
}

void WatchShard::RunTimers(DeliveryTally& tally) {
  const absl::Time now = context_->clock.Now();
  std::vector<Timer> due;
  {
    MutexLock lock(mu_);
    while (TimerDueLocked(now)) {
      std::pop_heap(timers_.begin(), timers_.end());
      due.push_back(std::move(timers_.back()));
      timers_.pop_back();
    }
  }
  for (Timer& timer : due) {
    const auto watcher = timer.watcher.lock();
    if (watcher == nullptr) continue;
    const auto next = watcher->OnTimer(now, tally);
    if (!next) continue;
    timer.when = *next;
    MutexLock lock(mu_);
    AddTimerLocked(std::move(timer));
  }
  ArmClock();
}

void WatchShard::ArmClock() {
  absl::Time when;
  {
    const absl::Time now = context_->clock.Now();
    MutexLock lock(mu_);
    if (timers_.empty()) return;
    when = timers_.front().when;
    if (when > now) when = std::max(when, std::min(last_tick_ + kTick, now + kTick));
    if (when >= armed_) return;
    armed_ = when;
  }
  // An alarm that is no longer needed fires for nothing, which is cheaper than cancelling it.
  context_->clock.RunAt(when, [weak = weak_from_this(), when] {
    if (auto shard = weak.lock()) shard->OnClock(when);
  });
}

void WatchShard::OnClock(absl::Time when) {
  {
    MutexLock lock(mu_);
    if (armed_ == when) armed_ = absl::InfiniteFuture();
    last_tick_ = when;
    clock_rang_ = true;
  }
  waiter_->Wake();
}

void WatchShard::EndAll(absl::Duration over, absl::Duration patience) {
  const absl::Time now = context_->clock.Now();
  absl::BitGen random;
  std::vector<WatchIndex::WatcherPtr> all;
  {
    MutexLock lock(mu_);
    ending_all_ = true;
    all = index_.All();
  }
  for (const auto& watcher : all) {
    const absl::Time when = now + over * absl::Uniform(random, 0.0, 1.0);
    watcher->EndAt(when, now + over + patience);
    MutexLock lock(mu_);
    AddTimerLocked({when, watcher});
  }
  ArmClock();
}

void WatchShard::EndOutdated() {
  const uint64_t revision = context_->catalog.view()->revision();
  std::vector<ChangePtr> forgotten;  // Dropped after the lock.
  std::vector<WatchIndex::WatcherPtr> all;
  {
    MutexLock lock(mu_);
    forgotten.swap(queue_);
    dispatched_ = revision;
    all = index_.All();
  }
  for (const auto& watcher : all)
    if (watcher->is_outdated()) watcher->End(WatchIsOutdated());
}

void WatchShard::EndIfLate(const std::shared_ptr<ShardWatcher>& watcher) {
  const absl::Time now = context_->clock.Now();
  {
    MutexLock lock(mu_);
    if (!ending_all_) return;
  }
  watcher->EndAt(now, now);
  {
    MutexLock lock(mu_);
    AddTimerLocked({now, watcher});
  }
  ArmClock();
}

void WatchShard::AwaitIdle() {
  const absl::Time now = context_->clock.Now();
  MutexLock lock(mu_);
  while (!stopping_ && (busy_ || !queue_.empty() || clock_rang_ || TimerDueLocked(now))) {
    if (TimerDueLocked(now)) {
      // The alarm may come a tick late.
      clock_rang_ = true;
      waiter_->Wake();
    }
    idle_.Wait(mu_);
  }
}

}  // namespace finetune
