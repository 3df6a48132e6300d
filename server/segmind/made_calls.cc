#include "server/segmind/made_calls.h"

#include <utility>

namespace finetune {

bool IsIn(CallGroup group, CallPriority priority) {
  switch (group) {
    case CallGroup::kAll:
      return true;
    case CallGroup::kOfCallers:
      return priority != CallPriority::kBackground;
    case CallGroup::kNotSubmits:
      return priority != CallPriority::kSubmit;
    default:
      return group == GroupOf(priority);
  }
}

CallGroup GroupOf(CallPriority priority) {
  switch (priority) {
    case CallPriority::kSubmit:
      return CallGroup::kSubmits;
    case CallPriority::kInteractive:
      return CallGroup::kInteractive;
    case CallPriority::kBackground:
      break;
  }
  return CallGroup::kBackground;
}

void MadeCalls::Add(Call call) {
  ForEachGroupOf(call.want.priority, [&](size_t group) { groups_[group].push_back(call.time); });
  if (call.want.sharer != nullptr) by_sharer_[call.want.sharer.get()].push_back(call.time);
  calls_.push_back(std::move(call));
}

void MadeCalls::ForgetUntil(absl::Time time) {
  for (; !calls_.empty() && calls_.front().time <= time; calls_.pop_front()) {
    const CallWant& want = calls_.front().want;
    ForEachGroupOf(want.priority, [&](size_t group) { groups_[group].pop_front(); });
    const auto own = by_sharer_.find(want.sharer.get());
    if (own == by_sharer_.end()) continue;
    own->second.pop_front();
    if (own->second.empty()) by_sharer_.erase(own);
  }
}

std::deque<MadeCalls::Call> MadeCalls::Take() {
  for (Times& times : groups_) times.clear();
  by_sharer_.clear();
  return std::exchange(calls_, {});
}

const MadeCalls::Times& MadeCalls::By(const Sharer* sharer) const {
  static const Times kNone;
  const auto found = by_sharer_.find(sharer);
  return found == by_sharer_.end() ? kNone : found->second;
}

}  // namespace finetune
