#include "server/jobs/watching/watcher.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "server/base/error.h"
#include "server/jobs/watching/watch_message.h"
#include "server/jobs/watching/watch_shard.h"

namespace finetune {
namespace {

// How many comparisons of a snapshot's jobs the hub's threads make at a time, about 50
// microseconds' worth; and how many are made aside before the next caller's turn, nearly a
// millisecond's worth, because the watcher's changes wait for the lock meanwhile.
constexpr size_t kQuickWalk = 2'000;
constexpr size_t kLongWalk = 25'000;
// How many changes EVERY reads before it releases the lock.
constexpr size_t kPull = 64;
// How many changes EVERY holds for a client that is slow for a moment, even if the catalog does not
// keep them.
constexpr size_t kHeld = 64;
// How long after a stream's end a write may still be under way.
constexpr absl::Duration kPatience = absl::Seconds(30);

absl::Duration Age(absl::Duration max_age) {
  thread_local absl::BitGen random;
  return max_age * absl::Uniform(absl::IntervalClosed, random, 0.9, 1.1);
}

absl::Status Expired() {
  return Error(absl::StatusCode::kOutOfRange, pb::ErrorReason::RESUME_TOKEN_EXPIRED,
               "changes after the resume token are no longer kept");
}

}  // namespace

ShardWatcher::ShardWatcher(WatchSpec spec, WatchSink* sink, std::shared_ptr<WatchContext> context,
                           std::shared_ptr<WatchShard> shard)
    : spec_(std::move(spec)),
      ids_(spec_.ids.begin(), spec_.ids.end()),
      sink_(sink),
      context_(std::move(context)),
      shard_(std::move(shard)),
      reloads_(context_->reloads()) {
  const absl::Time now = context_->clock.Now();
  MutexLock lock(mu_);
  last_write_ = now;
  end_at_ = now + Age(context_->options.max_age);
  abort_at_ = end_at_ + kPatience;
  first_timer_ = NextTimerLocked();
}

// ---- The start ----

absl::Status ShardWatcher::Start() {
  absl::Status status;
  {
    // A change that the shard dispatches meanwhile waits for the lock, and one that it dispatched
    // before this joined is already in the catalog, so none is lost in between.
    MutexLock lock(mu_);
    shard_->Add(shared_from_this());
    status = BeginLocked();
    if (status.ok()) {
      writing_ = true;
    } else {
      ended_ = true;
    }
  }
  if (!status.ok()) {
    shard_->Remove(*this);
    return status;
  }
  DeliveryTally tally(context_->metrics);
  Pump(tally, kQuickWalk);
  return absl::OkStatus();
}

absl::Status ShardWatcher::BeginLocked() {
  if (spec_.resume) {
    pb::Restart::Reason why;
    if (ResumeLocked(why)) return absl::OkStatus();
    if (spec_.fail_on_gap) return Expired();
    StartOverLocked(why);
    return absl::OkStatus();
  }
  StartSnapshotLocked(spec_.skip_snapshot);
  return absl::OkStatus();
}

bool ShardWatcher::ResumeLocked(pb::Restart::Reason& why) {
  const uint64_t from = spec_.resume->revision;
  why = pb::Restart::OTHER_HISTORY;
  if (!context_->catalog.HasPoint(*spec_.resume)) return false;
  why = pb::Restart::EXPIRED;
  if (spec_.every) {
    if (!context_->catalog.ChangesAfter(from, 1)) return false;
    floor_ = from;
    behind_ = true;
  } else {
    const auto changes = context_->catalog.ChangesAfter(from);
    if (!changes) return false;
    floor_ = from;
    for (const ChangePtr& change : *changes) {
      floor_ = change->revision();
      AddPendingLocked(change, MatchOfAll(*change), /*may_have=*/true);
    }
    // More changes than can be held are a gap.
    if (reset_) return false;
  }
  phase_ = Phase::kLive;
  // Tells the client that it has caught up.
  heartbeat_due_ = true;
  return true;
}

void ShardWatcher::StartSnapshotLocked(bool skip) {
  phase_ = Phase::kSnapshot;
  walk_.Begin(spec_, skip, *context_);
  floor_ = walk_.revision();
}

void ShardWatcher::StartOverLocked(pb::Restart::Reason reason) {
  phase_ = Phase::kReset;
  reset_ = reason;
  walk_.End();
  pending_ = nullptr;
  ready_ = nullptr;
  behind_ = false;
  heartbeat_due_ = false;
}

// ---- Changes ----

WatchMatch ShardWatcher::MatchOfAll(const VersionChange& change) const {
  if (!ids_.empty() && !ids_.contains(change.after()->id)) return {};
  return MatchOf(*spec_.filter, change);
}

void ShardWatcher::Deliver(const ChangePtr& change, WatchMatch match, DeliveryTally& tally) {
  const absl::Time now = context_->clock.Now();
  Step step;
  {
    MutexLock lock(mu_);
    if (ended_ || phase_ == Phase::kReset || change->revision() <= floor_ || is_outdated()) return;
    if (writing_) {
      KeepForLaterLocked(change, match);
      return;
    }
    // Nobody has the baton, so everything before this was sent.
    floor_ = change->revision();
    writing_ = true;
    last_write_ = now;
    step.kind = Step::Kind::kWrite;
    step.type = TypeOf(*change, match);
    step.change = change;
  }
  Write(step, now, tally);
}

void ShardWatcher::KeepForLaterLocked(const ChangePtr& change, WatchMatch match) {
  if (!spec_.every) {
    floor_ = change->revision();
    AddPendingLocked(change, match, /*may_have=*/false);
    return;
  }
  if (behind_) return;
  const size_t held = ready_ == nullptr ? 0 : ready_->size();
  if (held < kHeld) {
    floor_ = change->revision();
    HoldLocked({change, TypeOf(*change, match)});
    return;
  }
  // Every earlier change that concerned this watcher was sent or is held, so it may read on from
  // here.
  behind_ = true;
  floor_ = change->revision() - 1;
}

void ShardWatcher::HoldLocked(WatchPending::Delivery delivery) {
  if (ready_ == nullptr) ready_ = std::make_unique<std::deque<WatchPending::Delivery>>();
  ready_->push_back(std::move(delivery));
}

void ShardWatcher::AddPendingLocked(const ChangePtr& change, WatchMatch match, bool may_have) {
  if (reset_) return;
  if (pending_ == nullptr) pending_ = std::make_unique<WatchPending>();
  pending_->Add(change, match, may_have);
  if (pending_->size() > context_->options.max_pending) StartOverLocked(pb::Restart::TOO_SLOW);
}

void ShardWatcher::PullLocked() {
  const auto changes = context_->catalog.ChangesAfter(floor_, kPull);
  if (!changes) {
    StartOverLocked(pb::Restart::TOO_SLOW);
    return;
  }
  for (const ChangePtr& change : *changes) {
    floor_ = change->revision();
    const WatchMatch match = MatchOfAll(*change);
    if (!match.concerned()) continue;
    HoldLocked({change, TypeOf(*change, match)});
  }
  // From here on the shard delivers what is committed.
  if (changes->size() < kPull) behind_ = false;
}

// ---- What to send ----

ShardWatcher::Step ShardWatcher::NextLocked(absl::Time now, size_t walk) {
  if (cancelled_) return {.kind = Step::Kind::kFinish, .status = absl::CancelledError()};
  Step step;
  if (ending_) {
    step = FarewellLocked();
    if (step.kind == Step::Kind::kFinish) return step;
    return is_outdated() ? Step{.kind = Step::Kind::kFinish, .status = WatchIsOutdated()}
                         : std::move(step);
  }
  if (phase_ == Phase::kReset) step = ResetStepLocked();
  if (phase_ == Phase::kSnapshot && step.kind == Step::Kind::kNothing)
    step = SnapshotStepLocked(now, walk);
  if (phase_ == Phase::kLive && step.kind == Step::Kind::kNothing) step = LiveStepLocked();
  // Whatever was read for this step is dropped.
  if (is_outdated()) return {.kind = Step::Kind::kFinish, .status = WatchIsOutdated()};
  return step;
}

ShardWatcher::Step ShardWatcher::FarewellLocked() {
  if (!said_farewell_ && CaughtUpLocked()) {
    said_farewell_ = true;
    return HeartbeatLocked();
  }
  if (!end_status_.ok()) return {.kind = Step::Kind::kFinish, .status = end_status_};
  return {.kind = Step::Kind::kFinish, .status = WatchEnds("the stream ends here: resume it")};
}

ShardWatcher::Step ShardWatcher::ResetStepLocked() {
  if (spec_.fail_on_gap) return {.kind = Step::Kind::kFinish, .status = Expired()};
  const pb::Restart::Reason reason = *std::exchange(reset_, std::nullopt);
  context_->metrics.CountReset(reason);
  StartSnapshotLocked(/*skip=*/false);
  return {
      .kind = Step::Kind::kWrite, .message = WatchMessage::kReset, .bytes = EncodeReset(reason)};
}

ShardWatcher::Step ShardWatcher::SnapshotStepLocked(absl::Time now, size_t walk) {
  grpc::ByteBuffer job;
  switch (walk_.Next(spec_, now, walk, job)) {
    case SnapshotWalk::Result::kJob:
      return {
          .kind = Step::Kind::kWrite, .message = WatchMessage::kSnapshot, .bytes = std::move(job)};
    case SnapshotWalk::Result::kEnough:
      return {.kind = Step::Kind::kAside};
    case SnapshotWalk::Result::kTakenAway:
      StartOverLocked(pb::Restart::TOO_SLOW);
      return {.kind = Step::Kind::kAgain};
    case SnapshotWalk::Result::kEnd:
      break;
  }
  const ResumePoint point = context_->catalog.PointAt(walk_.revision());
  phase_ = Phase::kLive;
  walk_.End();
  return {
      .kind = Step::Kind::kWrite, .message = WatchMessage::kSynced, .bytes = EncodeSynced(point)};
}

ShardWatcher::Step ShardWatcher::LiveStepLocked() {
  if (pending_ != nullptr) {
    if (auto next = pending_->Pop()) {
      if (pending_->empty()) pending_ = nullptr;
      return {.kind = Step::Kind::kWrite, .change = std::move(next->change), .type = next->type};
    }
    pending_ = nullptr;
  }
  if (ready_ != nullptr) {
    Step step{.kind = Step::Kind::kWrite,
              .change = std::move(ready_->front().change),
              .type = ready_->front().type};
    ready_->pop_front();
    if (ready_->empty()) ready_ = nullptr;
    return step;
  }
  if (behind_) {
    PullLocked();
    return {.kind = Step::Kind::kAgain};
  }
  if (heartbeat_due_) return HeartbeatLocked();
  return {};
}

ShardWatcher::Step ShardWatcher::HeartbeatLocked() {
  heartbeat_due_ = false;
  return {.kind = Step::Kind::kWrite, .bytes = shard_->Heartbeat(floor_)};
}

bool ShardWatcher::is_outdated() const { return context_->reloads() != reloads_; }

bool ShardWatcher::CaughtUpLocked() const {
  return phase_ == Phase::kLive && pending_ == nullptr && ready_ == nullptr && !behind_;
}

// ---- Calls of the sink, with no lock held ----

void ShardWatcher::Pump(DeliveryTally& tally, size_t walk) {
  while (true) {
    const absl::Time now = context_->clock.Now();
    Step step;
    {
      MutexLock lock(mu_);
      step = NextLocked(now, walk);
      if (step.kind == Step::Kind::kNothing) {
        writing_ = false;
        return;
      }
      if (step.kind == Step::Kind::kWrite) last_write_ = now;
      if (step.kind == Step::Kind::kFinish) ended_ = true;
    }
    switch (step.kind) {
      case Step::Kind::kAside:
        if (PumpAside()) return;
        continue;
      case Step::Kind::kWrite:
        return Write(step, now, tally);
      case Step::Kind::kFinish:
        return Finish(std::move(step.status));
      default:
        continue;
    }
  }
}

bool ShardWatcher::PumpAside() {
  const auto pump = [self = shared_from_this()] {
    const LongWork::Piece work(self->context_->options.long_work);
    DeliveryTally tally(self->context_->metrics);
    self->Pump(tally, kLongWalk);
  };
  return context_->walks.Post(spec_.sharer.get(), pump) != 0;
}

// The baton goes to the sink, and comes back with OnWriteDone: perhaps before this returns.
void ShardWatcher::Write(const Step& step, absl::Time now, DeliveryTally& tally) {
  if (step.change != nullptr) {
    tally.Count(WatchMessageOf(step.type));
    tally.Lag(now - step.change->time());
    sink_->Write(step.change->Encoded(step.type, spec_.view));
  } else {
    tally.Count(step.message);
    sink_->Write(step.bytes);
  }
}

void ShardWatcher::OnWriteDone(bool ok) {
  {
    MutexLock lock(mu_);
    if (!ok) cancelled_ = true;
    if (aborting_) {
      done_meanwhile_ = true;
      return;
    }
  }
  DeliveryTally tally(context_->metrics);
  Pump(tally, kQuickWalk);
}

void ShardWatcher::Cancel() {
  {
    MutexLock lock(mu_);
    cancelled_ = true;
    if (ended_ || writing_) return;
    ended_ = true;
  }
  Finish(absl::CancelledError());
}

void ShardWatcher::Finish(absl::Status status) {
  const std::shared_ptr<ShardWatcher> self = shared_from_this();
  shard_->Remove(*this);
  sink_->Finish(std::move(status));
  context_->Leave();
}

// The sink may be gone once Finish was called, so an OnWriteDone that the abort causes waits until
// the call has returned.
void ShardWatcher::Abort() {
  {
    MutexLock lock(mu_);
    if (ended_ || !writing_ || aborting_) return;
    aborting_ = true;
  }
  sink_->Abort();
  {
    MutexLock lock(mu_);
    aborting_ = false;
    if (!std::exchange(done_meanwhile_, false)) return;
  }
  DeliveryTally tally(context_->metrics);
  Pump(tally, kQuickWalk);
}

// ---- Time ----

absl::Time ShardWatcher::NextTimerLocked() const {
  if (ending_) return abort_at_;
  return std::min(end_at_, last_write_ + spec_.heartbeat_interval);
}

std::optional<absl::Time> ShardWatcher::OnTimer(absl::Time now, DeliveryTally& tally) {
  bool pump = false;
  bool abort = false;
  absl::Time next;
  WatchSnapshotPtr released;  // Dropped after the lock.
  {
    MutexLock lock(mu_);
    if (ended_) return std::nullopt;
    // A client that does not read must not keep old versions of jobs in memory.
    if (phase_ == Phase::kSnapshot && context_->catalog.window_start() > walk_.revision()) {
      released = walk_.End();
      StartOverLocked(pb::Restart::TOO_SLOW);
    }
    if (!ending_ && now >= end_at_) {
      ending_ = true;
      pump = !writing_;
    } else if (ending_) {
      abort = writing_ && now >= abort_at_;
      if (abort) abort_at_ = now + kPatience;
    } else if (!writing_ && now >= last_write_ + spec_.heartbeat_interval) {
      heartbeat_due_ = true;
      pump = true;
    }
    if (pump) writing_ = true;
    next = pump && !ending_ ? now + spec_.heartbeat_interval : NextTimerLocked();
    // It is overdue, but the client is slow: look again later.
    if (next <= now) next = now + spec_.heartbeat_interval / 4;
  }
  if (pump) Pump(tally, kQuickWalk);
  if (abort) Abort();
  return next;
}

void ShardWatcher::EndAt(absl::Time when, absl::Time abort) {
  MutexLock lock(mu_);
  end_at_ = std::min(end_at_, when);
  abort_at_ = std::min(abort_at_, abort);
}

void ShardWatcher::End(absl::Status status) {
  const absl::Time now = context_->clock.Now();
  {
    MutexLock lock(mu_);
    ending_ = true;
    said_farewell_ = true;
    // A client that does not read is cut off.
    abort_at_ = std::min(abort_at_, now + kPatience);
    if (end_status_.ok()) end_status_ = status;
    if (ended_ || writing_) return;
    ended_ = true;
  }
  Finish(std::move(status));
}

}  // namespace finetune
