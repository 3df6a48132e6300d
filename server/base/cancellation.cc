#include "server/base/cancellation.h"

#include <utility>

namespace finetune {

void Cancellation::Cancel() {
  std::vector<absl::AnyInvocable<void() &&>> actions;
  {
    MutexLock lock(mu_);
    cancelled_ = true;
    actions.swap(actions_);
  }
  for (auto& action : actions) std::move(action)();
}

bool Cancellation::cancelled() const {
  MutexLock lock(mu_);
  return cancelled_;
}

void Cancellation::OnCancelDo(absl::AnyInvocable<void() &&> action) const {
  {
    MutexLock lock(mu_);
    if (!cancelled_) {
      actions_.push_back(std::move(action));
      return;
    }
  }
  std::move(action)();
}

}  // namespace finetune
