#include "server/jobs/tracking/details_queue.h"

#include <utility>

namespace finetune {
namespace {

void KeepEarliest(const WebhookHint& hint, WebhookHint& earliest) {
  if (hint.time < earliest.time) earliest = hint;
}

}  // namespace

void DetailsQueue::Add(const std::string& upstream_id, unsigned why, const WebhookHint& hint,
                       uint64_t newness) {
  if (auto running = again_.find(upstream_id); running != again_.end()) {
    running->second.why |= why;
    KeepEarliest(hint, running->second.hint);
    return;
  }
  Task& task = pending_[upstream_id];
  const unsigned before = task.why;
  task.upstream_id = upstream_id;
  task.why |= why;
  KeepEarliest(hint, task.hint);
  if (task.why != before) AddToLane(task, before, newness);
}

void DetailsQueue::AddToLane(const Task& task, unsigned before, uint64_t newness) {
  const auto came = [&](unsigned why) { return (task.why & why) != 0 && (before & why) == 0; };
  if (came(kPending)) {
    urgent_lane_.push_front(task.upstream_id);
  } else if (task.urgent()) {
    if (!Task{.why = before}.urgent()) urgent_lane_.push_back(task.upstream_id);
  } else if (came(kGone)) {
    gone_lane_.push_back(task.upstream_id);
  } else if (came(kBackfill)) {
    backfill_lane_.emplace(newness, task.upstream_id);
  }
}

bool DetailsQueue::PopUrgent(std::string& id) {
  while (!urgent_lane_.empty()) {
    id = std::move(urgent_lane_.front());
    urgent_lane_.pop_front();
    if (pending_.contains(id)) return true;
  }
  return false;
}

bool DetailsQueue::PopSlow(std::string& id) {
  while (!gone_lane_.empty() || !backfill_lane_.empty()) {
    if (!gone_lane_.empty()) {
      id = std::move(gone_lane_.front());
      gone_lane_.pop_front();
    } else {
      id = std::move(backfill_lane_.begin()->second);
      backfill_lane_.erase(backfill_lane_.begin());
    }
    auto found = pending_.find(id);
    if (found != pending_.end() && !found->second.urgent()) return true;
  }
  return false;
}

std::optional<DetailsQueue::Task> DetailsQueue::Take(absl::Time now) {
  std::string id;
  if (urgent_running_ < kUrgentAtOnce && PopUrgent(id)) {
    ++urgent_running_;
  } else if (slow_running_ == 0 && now >= next_slow_ && PopSlow(id)) {
    ++slow_running_;
    next_slow_ = now + slow_interval_;
  } else {
    return std::nullopt;
  }
  auto found = pending_.find(id);
  Task task = std::move(found->second);
  pending_.erase(found);
  again_[id] = Task();
  return task;
}

void DetailsQueue::Finish(const Task& task) {
  --(task.urgent() ? urgent_running_ : slow_running_);
  auto found = again_.find(task.upstream_id);
  const Task again = std::move(found->second);
  again_.erase(found);
  if (again.why != 0) Add(task.upstream_id, again.why, again.hint);
}

absl::Time DetailsQueue::NextStart() const {
  if (urgent_running_ < kUrgentAtOnce && !urgent_lane_.empty()) return absl::InfinitePast();
  const bool slow_waits = !gone_lane_.empty() || !backfill_lane_.empty();
  return slow_running_ == 0 && slow_waits ? next_slow_ : absl::InfiniteFuture();
}

}  // namespace finetune
