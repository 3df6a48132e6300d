#include "server/jobs/watching/watch_snapshot.h"

#include <algorithm>
#include <utility>

namespace finetune {

void WatchSnapshot::TakeAway() {
  ViewPtr dropped;  // After the lock.
  MutexLock lock(mu_);
  dropped.swap(view_);
}

WatchSnapshotPtr WatchSnapshots::Of(const ViewPtr& view, absl::Time now) {
  WatchSnapshotPtr oldest;
  WatchSnapshotPtr made;
  {
    MutexLock lock(mu_);
    if (!walked_.empty()) {
      WatchSnapshotPtr last = walked_.back().lock();
      if (last != nullptr && last->revision_ == view->revision()) return last;
    }
    std::erase_if(walked_, [](const auto& one) { return one.expired(); });
    size_t place = 0;
    for (size_t i = 0; i < walked_.size() && walked_.size() >= kKept; ++i) {
      WatchSnapshotPtr one = walked_[i].lock();
      if (one == nullptr || (oldest != nullptr && oldest->used() <= one->used())) continue;
      oldest = std::move(one);
      place = i;
    }
    if (oldest != nullptr && (walked_.size() >= kMost || now - oldest->used() >= kStill))
      walked_.erase(walked_.begin() + static_cast<ptrdiff_t>(place));
    else
      oldest = nullptr;
    made = WatchSnapshotPtr(new WatchSnapshot(view, now));
    walked_.push_back(made);
  }
  if (oldest != nullptr) oldest->TakeAway();
  return made;
}

}  // namespace finetune
