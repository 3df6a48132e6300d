#include "server/jobs/tracking/refresh_calls.h"

#include <algorithm>
#include <utility>

#include "server/base/error.h"

namespace finetune {

void RefreshCalls::Add(std::string id, absl::Time not_before, absl::Time deadline, Done done) {
  calls_.emplace(deadline, Call{std::move(id), not_before, deadline, std::move(done)});
}

bool RefreshCalls::IsServed(const std::string& id, absl::Time not_before) const {
  return (id.empty() ? catalog_.observe_time() : catalog_.ObserveTimeOf(id)) >= not_before;
}

template <typename Ends>
void RefreshCalls::EndWhere(const Ends& ends, const absl::Status& status) {
  std::vector<Done> ended;
  for (auto it = calls_.begin(); it != calls_.end();) {
    if (!ends(it->first, it->second)) {
      ++it;
      continue;
    }
    ended.push_back(std::move(it->second.done));
    it = calls_.erase(it);
  }
  for (Done& done : ended) std::move(done)(status);
}

void RefreshCalls::Expire(absl::Time now) {
  if (NextDeadline() > now) return;
  EndWhere([&](absl::Time deadline, const Call&) { return deadline <= now; },
           Error(absl::StatusCode::kDeadlineExceeded, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                 "no read of Segmind that is fresh enough ended in time"));
}

void RefreshCalls::FinishServed() {
  EndWhere([&](absl::Time, const Call& call) { return IsServed(call.id, call.not_before); },
           absl::OkStatus());
}

void RefreshCalls::Fail(absl::Time asked, const absl::Status& status) {
  EndWhere([&](absl::Time, const Call& call) { return call.not_before <= asked; }, status);
}

void RefreshCalls::FailOf(const std::string& id, absl::Time asked, const absl::Status& status) {
  EndWhere([&](absl::Time, const Call& call) { return call.id == id && call.not_before <= asked; },
           status);
}

void RefreshCalls::EndAll(const absl::Status& status) {
  EndWhere([](absl::Time, const Call&) { return true; }, status);
}

std::vector<RefreshCalls::Call> RefreshCalls::TakeAll() {
  std::vector<Call> taken;
  for (auto& [deadline, call] : calls_) taken.push_back(std::move(call));
  calls_.clear();
  return taken;
}

absl::Time RefreshCalls::NewestWanted() const {
  absl::Time newest = absl::InfinitePast();
  for (const auto& [deadline, call] : calls_) newest = std::max(newest, call.not_before);
  return newest;
}

std::vector<std::string> RefreshCalls::ids() const {
  std::vector<std::string> ids;
  for (const auto& [deadline, call] : calls_)
    if (!call.id.empty()) ids.push_back(call.id);
  return ids;
}

bool RefreshCalls::WaitsForAll() const {
  return std::any_of(calls_.begin(), calls_.end(),
                     [](const auto& entry) { return entry.second.id.empty(); });
}

absl::Time RefreshCalls::NextDeadline() const {
  return calls_.empty() ? absl::InfiniteFuture() : calls_.begin()->first;
}

}  // namespace finetune
