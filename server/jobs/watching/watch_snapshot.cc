#include "server/jobs/watching/watch_snapshot.h"

#include <algorithm>
#include <utility>

namespace finetune {
namespace {

WatchSnapshotPtr InOrder(std::vector<VersionPtr> versions) {
  std::sort(versions.begin(), versions.end(),
            [](const VersionPtr& a, const VersionPtr& b) { return a->revision < b->revision; });
  return std::make_shared<const WatchSnapshot>(WatchSnapshot{std::move(versions)});
}

}  // namespace

WatchSnapshotPtr WatchSnapshots::Of(const ViewPtr& view) {
  MutexLock lock(mu_);
  WatchSnapshotPtr last = last_.lock();
  if (last != nullptr && last_revision_ == view->revision()) return last;
  std::vector<VersionPtr> versions;
  versions.reserve(view->size());
  for (size_t i = 0; i < view->size(); ++i) versions.push_back(view->at(i));
  WatchSnapshotPtr snapshot = InOrder(std::move(versions));
  // An older view's is not what the next stream will ask for.
  if (last == nullptr || view->revision() > last_revision_) {
    last_ = snapshot;
    last_revision_ = view->revision();
  }
  return snapshot;
}

WatchSnapshotPtr WatchSnapshots::Of(const ViewPtr& view, const std::vector<std::string>& ids) {
  std::vector<VersionPtr> versions;
  for (const std::string& id : ids) {
    // The catalog knows the latest version; where the job stands in the view never changes.
    const VersionPtr latest = catalog_.Find(id);
    if (latest == nullptr) continue;
    const size_t index = view->LowerBound(latest->first_revision);
    if (index < view->size() && view->at(index)->id == id) versions.push_back(view->at(index));
  }
  return InOrder(std::move(versions));
}

}  // namespace finetune
