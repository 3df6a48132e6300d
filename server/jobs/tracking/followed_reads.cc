#include "server/jobs/tracking/followed_reads.h"

#include <algorithm>
#include <utility>

#include "server/jobs/tracking/reading_stopped.h"

namespace finetune {

FollowedReads::FollowedReads(Fleet& fleet, Catalog& catalog, Clock& clock, Metrics& metrics,
                             std::atomic<bool>& list_is_partial)
    : fleet_(fleet),
      catalog_(catalog),
      clock_(clock),
      metrics_(metrics),
      list_is_partial_(list_is_partial),
      worker_(std::make_shared<Worker>("followed")),
      refreshes_(catalog) {}

FollowedReads::~FollowedReads() { Stop(); }

void FollowedReads::Stop() {
  worker_->Post([this] {
    stopped_ = true;
    clock_.Cancel(timer_);
    timer_ = Clock::kNoTimer;
    refreshes_.EndAll(ReadingStopped());
  });
  worker_->Stop();
}

void FollowedReads::Refresh(std::string id, absl::Time not_before, absl::Time deadline,
                            RefreshCalls::Done done) {
  auto shared = std::make_shared<RefreshCalls::Done>(std::move(done));
  const bool posted =
      worker_->RunOrPost([this, id = std::move(id), not_before, deadline, shared]() mutable {
        Add(std::move(id), not_before, deadline, std::move(*shared));
      });
  if (!posted) std::move (*shared)(ReadingStopped());
}

void FollowedReads::OnReading(const FleetReading& reading) {
  worker_->Post([this, reading] {
    reading_ = reading;
    reading_waits_ = true;
    TakeReading();
    Step();
  });
}

void FollowedReads::OnCommitted() {
  if (!reading_waits_) return;
  worker_->Post([this] {
    TakeReading();
    Step();
  });
}

void FollowedReads::HandOver(std::function<void(RefreshCalls::Call)> take) {
  worker_->Post([this, take = std::move(take)] {
    asking_ = false;
    ticket_ = 0;
    asked_ = absl::InfinitePast();
    for (RefreshCalls::Call& call : refreshes_.TakeAll()) take(std::move(call));
    Step();
  });
}

void FollowedReads::Add(std::string id, absl::Time not_before, absl::Time deadline,
                        RefreshCalls::Done done) {
  if (stopped_) return std::move(done)(ReadingStopped());
  not_before = std::min(not_before, clock_.Now());
  if (refreshes_.IsServed(id, not_before)) return std::move(done)(absl::OkStatus());
  refreshes_.Add(std::move(id), not_before, deadline, std::move(done));
  Step();
}

// One request is under way at a time; callers that come meanwhile need the next one.
void FollowedReads::Ask() {
  if (asking_ || ticket_ != 0 || refreshes_.NewestWanted() <= asked_) return;
  asking_ = true;
  const absl::Time now = clock_.Now();
  fleet_.WantRead([this, worker = worker_, now](absl::StatusOr<uint64_t> ticket) {
    worker->Post([this, now, ticket = std::move(ticket)] { OnTicket(now, ticket); });
  });
}

void FollowedReads::OnTicket(absl::Time asked, const absl::StatusOr<uint64_t>& ticket) {
  if (!std::exchange(asking_, false)) return;  // Handed over meanwhile.
  if (ticket.ok()) {
    ticket_ = *ticket;
    asked_ = asked;
  } else {
    refreshes_.Fail(asked, ticket.status());
  }
  Step();
}

void FollowedReads::TakeReading() {
  if (!reading_ || catalog_.view()->revision() < reading_->revision) return;
  FleetReading reading = *std::move(reading_);
  reading_.reset();
  reading_waits_ = false;
  const bool is_served = ticket_ != 0 && reading.served >= ticket_;
  const bool has_failed = ticket_ != 0 && !is_served && reading.failed >= ticket_;
  if (reading.list_time != absl::InfinitePast()) {
    list_is_partial_ = reading.partial;
    metrics_.SetListIsPartial(reading.partial);
    const absl::Time list = is_served ? std::max(reading.list_time, asked_) : reading.list_time;
    catalog_.SetObserveTime(list, std::move(reading.not_shown));
    metrics_.SetObserveTime(clock_.ToWall(list));
  }
  refreshes_.FinishServed();
  if (has_failed) refreshes_.Fail(asked_, reading.failure);
  if (is_served || has_failed) ticket_ = 0;
  if (ticket_ == 0 && !asking_) HintUnserved();
}

// The calls that are left from before the list was served wait for jobs that lists do not show.
void FollowedReads::HintUnserved() {
  for (const std::string& id : refreshes_.ids()) {
    const VersionPtr version = catalog_.Find(id);
    if (version == nullptr || version->upstream_id.empty()) continue;
    const absl::Time known = catalog_.ObserveTimeOf(id);
    const auto [hint, is_new] = hinted_.try_emplace(id, known);
    if (!is_new && hint->second == known) continue;
    hint->second = known;
    fleet_.Hint({version->upstream_id, {}});
  }
}

void FollowedReads::Step() {
  if (stopped_) return;
  refreshes_.Expire(clock_.Now());
  if (refreshes_.NextDeadline() == absl::InfiniteFuture()) hinted_.clear();
  Ask();
  SetTimer();
}

void FollowedReads::SetTimer() {
  const absl::Time when = refreshes_.NextDeadline();
  if (timer_ != Clock::kNoTimer && timer_time_ <= when) return;
  clock_.Cancel(timer_);
  timer_ = Clock::kNoTimer;
  timer_time_ = when;
  if (when == absl::InfiniteFuture()) return;
  timer_ = clock_.RunAt(when, [this, worker = worker_, when] {
    worker->Post([this, when] {
      if (when != timer_time_) return;  // Another one was set meanwhile.
      timer_ = Clock::kNoTimer;
      Step();
    });
  });
}

}  // namespace finetune
