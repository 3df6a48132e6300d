#include "server/jobs/tracking/tracker.h"

#include <algorithm>
#include <utility>

#include "server/base/error.h"
#include "server/base/log.h"
#include "server/jobs/tracking/tracker_core.h"

namespace finetune {
namespace {

// A list that hangs must not keep the next from starting for ever.
constexpr size_t kListsAtOnce = 2;
constexpr absl::Duration kFirstBackoff = absl::Seconds(1);
constexpr absl::Duration kMostBackoff = absl::Minutes(1);
constexpr absl::Duration kLeastInterval = absl::Milliseconds(10);
constexpr size_t kMaxUnknownHints = 1000;

absl::Status Stopped() {
  return Error(absl::StatusCode::kCancelled, pb::ErrorReason::SERVER_DRAINING,
               "the gateway is stopping");
}

}  // namespace

Tracker::Core::Core(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
                    Clock& clock, Metrics& metrics)
    : options_(options),
      segmind_(segmind),
      recorder_(recorder),
      catalog_(catalog),
      clock_(clock),
      polls_changed_(metrics.Counter("finetune_gateway_polls_total", "Lists read from Segmind.",
                                     {{"result", "changed"}})),
      polls_unchanged_(metrics.Counter("finetune_gateway_polls_total", "Lists read from Segmind.",
                                       {{"result", "unchanged"}})),
      polls_failed_(metrics.Counter("finetune_gateway_polls_total", "Lists read from Segmind.",
                                    {{"result", "failed"}})),
      observe_time_(metrics.Gauge("finetune_gateway_observe_timestamp_seconds",
                                  "When the read of Segmind began that the view includes.")),
      unsettled_gauge_(metrics.Gauge("finetune_gateway_unsettled_submissions",
                                     "Submissions whose outcome is not known.")),
      confirm_seconds_(metrics.Histogram("finetune_gateway_webhook_confirm_seconds",
                                         "From a webhook to the view that includes its news.",
                                         kLatencyBuckets)),
      backoff_(kFirstBackoff, std::max(kMostBackoff, options.active_poll_interval)),
      worker_("tracker") {}

bool Tracker::Core::Post(absl::AnyInvocable<void() &&> task) {
  return worker_.Post(std::move(task));
}

bool Tracker::Core::RunOrPost(absl::AnyInvocable<void() &&> task) {
  return worker_.RunOrPost(std::move(task));
}

void Tracker::Core::Shutdown() {
  Post([this] {
    stopped_ = true;
    clock_.Cancel(timer_);
    timer_ = Clock::kNoTimer;
    auto waiting = std::move(refreshes_);
    refreshes_.clear();
    for (auto& [deadline, call] : waiting) std::move(call.done)(Stopped());
    settled_listener_ = nullptr;
  });
  worker_.Stop();
}

void Tracker::Core::Begin() {
  started_ = true;
  const ViewPtr view = catalog_.view();
  for (size_t i = 0; i < view->size(); ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (!version.upstream_id.empty() && version.state != pb::FineTune::LOST) ++trusted_total_;
  }
  AddBackfills();
  Pump();
}

void Tracker::Core::TakeHint(const std::string& upstream_id, absl::Time time,
                             const TraceContext& trace) {
  if (!upstream_id.empty() && catalog_.FindUpstream(upstream_id) != nullptr) {
    details_.Add(upstream_id, DetailsQueue::kHint, {time, trace});
  } else {
    // Perhaps a submission whose answer has yet to come: a list shows the name, too.
    if (hinted_.size() < kMaxUnknownHints) hinted_.try_emplace(upstream_id, time);
    wanted_ = std::max(wanted_, time);
  }
  Pump();
}

void Tracker::Core::AddRefresh(absl::Time not_before, absl::Time deadline, RefreshDone done) {
  if (stopped_) return std::move(done)(Stopped());
  const absl::Time now = clock_.Now();
  not_before = std::min(not_before, now);
  if (catalog_.observe_time() >= not_before) return std::move(done)(absl::OkStatus());
  wanted_ = std::max(wanted_, not_before);
  refreshes_.emplace(deadline, RefreshCall{not_before, std::move(done)});
  Pump();
}

void Tracker::Core::TakeWake() {
  woken_ = clock_.Now();
  if (failures_ == 0) {
    next_poll_ = std::min(next_poll_, std::max(last_list_start_, recorded_start_) + PollInterval());
  }
  Pump();
}

void Tracker::Core::Pump() {
  if (stopped_) return;
  const absl::Time now = clock_.Now();
  ExpireRefreshes(now);
  absl::Time next = refreshes_.empty() ? absl::InfiniteFuture() : refreshes_.begin()->first;
  if (started_) {
    rate_ = std::max(rate_, segmind_.calls_left());
    details_.set_slow_interval(absl::Minutes(1) / std::max(1.0, rate_ / 4.0));
    StartDetails(now);
    if (NextListStart(now) <= now) StartList(now);
    next = std::min({next, NextListStart(now), details_.NextStart()});
  }
  SetTimer(next);
}

void Tracker::Core::SetTimer(absl::Time when) {
  // One that is set and comes sooner sets the next: whoever awaits a read need not set one and
  // cancel it, which would wake the clock's thread each time.
  if (timer_ != Clock::kNoTimer && timer_time_ <= when) return;
  clock_.Cancel(timer_);
  timer_ = Clock::kNoTimer;
  timer_time_ = when;
  if (when == absl::InfiniteFuture()) return;
  timer_ = clock_.RunAt(when, [weak = weak_from_this(), number = ++last_timer_] {
    auto core = weak.lock();
    if (core == nullptr) return;
    core->Post([core = core.get(), number] {
      if (number != core->last_timer_) return;  // Another one was set meanwhile.
      core->timer_ = Clock::kNoTimer;
      core->Pump();
    });
  });
}

absl::Time Tracker::Core::NextListStart(absl::Time now) {
  if (reads_.size() >= kListsAtOnce) return absl::InfiniteFuture();
  absl::Time next = reads_.empty() && !recording_ ? next_poll_ : absl::InfiniteFuture();
  if (wanted_ > last_list_start_) {
    // Callers who want fresh data may not use up the calls that submissions need, nor hammer a
    // Segmind that fails.
    absl::Time at_once = absl::InfinitePast();
    if (segmind_.calls_left() <= rate_ / 4) {
      at_once = last_list_start_ + absl::Minutes(1) / std::max(1.0, rate_ / 4.0);
    }
    if (failures_ > 0) at_once = std::max(at_once, last_list_start_ + kFirstBackoff);
    next = std::min(next, at_once);
  }
  return next;
}

absl::Duration Tracker::Core::PollInterval() const {
  const bool settling = unsettled_ > 0 || woken_ > recorded_start_;
  const bool active = settling || !missing_.empty() || !doubtful_.empty() || !held_.empty() ||
                      catalog_.view()->active() > 0;
  absl::Duration interval = active ? options_.active_poll_interval : options_.idle_poll_interval;
  if (settling) {
    interval = std::min(interval, options_.settle_time / std::max(1, options_.settle_lists));
  }
  return std::max(interval, kLeastInterval);
}

void Tracker::Core::ExpireRefreshes(absl::Time now) {
  while (!refreshes_.empty() && refreshes_.begin()->first <= now) {
    RefreshDone done = std::move(refreshes_.begin()->second.done);
    refreshes_.erase(refreshes_.begin());
    std::move(done)(Error(absl::StatusCode::kDeadlineExceeded,
                          pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                          "no read of Segmind that is fresh enough ended in time"));
  }
}

void Tracker::Core::FinishRefreshes(absl::Time upto, const absl::Status& status) {
  std::vector<RefreshDone> finished;
  for (auto it = refreshes_.begin(); it != refreshes_.end();) {
    if (it->second.not_before > upto) {
      ++it;
      continue;
    }
    finished.push_back(std::move(it->second.done));
    it = refreshes_.erase(it);
  }
  for (RefreshDone& done : finished) std::move(done)(status);
}

Tracker::Tracker(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
                 Clock& clock, Metrics& metrics)
    : core_(std::make_shared<Core>(options, segmind, recorder, catalog, clock, metrics)) {}

Tracker::~Tracker() { Stop(); }

void Tracker::Start() {
  core_->Post([core = core_.get()] { core->Begin(); });
}

void Tracker::Stop() { core_->Shutdown(); }

void Tracker::Hint(std::string upstream_id, const TraceContext& trace) {
  core_->Post([core = core_.get(), id = std::move(upstream_id), now = core_->Now(), trace] {
    core->TakeHint(id, now, trace);
  });
}

void Tracker::Refresh(absl::Time not_before, absl::Time deadline,
                      absl::AnyInvocable<void(absl::Status) &&> done) {
  auto shared = std::make_shared<Core::RefreshDone>(std::move(done));
  const bool posted = core_->RunOrPost([core = core_.get(), not_before, deadline, shared] {
    core->AddRefresh(not_before, deadline, std::move(*shared));
  });
  if (!posted) std::move (*shared)(Stopped());
}

void Tracker::Wake() {
  core_->Post([core = core_.get()] { core->TakeWake(); });
}

void Tracker::OnSettled(std::function<void(const std::string& fine_tune_id)> listener) {
  core_->Post([core = core_.get(), listener = std::move(listener)]() mutable {
    core->SetSettledListener(std::move(listener));
  });
}

}  // namespace finetune
