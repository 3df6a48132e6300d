#include "server/jobs/watching/snapshot_walk.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/jobs/watching/watch_message.h"

namespace finetune {
namespace {

grpc::ByteBuffer Shown(const FineTuneVersion& version, const WatchSpec& spec) {
  return EncodeChange(version, pb::Change::SNAPSHOT, spec.view, "");
}

}  // namespace

void SnapshotWalk::Begin(const WatchSpec& spec, bool skip, WatchContext& context) {
  const ViewPtr view = context.catalog.view();
  revision_ = view->revision();
  skip_ = skip;
  next_ = 0;
  if (skip) return;
  if (spec.ids.empty()) {
    snapshot_ = context.snapshots.Of(view, context.clock.Now());
    return;
  }
  for (const std::string& id : spec.ids) {
    // The catalog has the latest version; the job's place in the view never changes.
    const VersionPtr latest = context.catalog.Find(id);
    if (latest == nullptr) continue;
    const size_t index = view->LowerBound(latest->first_revision);
    if (index < view->size() && view->at(index)->id == id) named_.push_back(view->at(index));
  }
  std::sort(named_.begin(), named_.end(),
            [](const VersionPtr& a, const VersionPtr& b) { return a->revision < b->revision; });
}

SnapshotWalk::Result SnapshotWalk::Next(const WatchSpec& spec, absl::Time now, size_t comparisons,
                                        grpc::ByteBuffer& message) {
  if (skip_) return Result::kEnd;
  return spec.ids.empty() ? NextOfAll(spec, now, comparisons, message) : NextNamed(spec, message);
}

SnapshotWalk::Result SnapshotWalk::NextOfAll(const WatchSpec& spec, absl::Time now,
                                             size_t comparisons, grpc::ByteBuffer& message) {
  const ViewPtr view = snapshot_->View(now);
  if (view == nullptr) return Result::kTakenAway;
  const size_t cost = 1 + spec.filter->comparisons();
  size_t next = next_;
  size_t spent = 0;
  bool enough = false;
  const FineTuneVersion* found = nullptr;
  view->by_revision().Ascend(next, [&](const FineTuneVersion& version) {
    enough = spent >= comparisons;
    if (enough) return false;
    spent += cost;
    ++next;
    if (spec.filter->Matches(version)) found = &version;
    return found == nullptr;
  });
  next_ = next;
  if (found == nullptr) return enough ? Result::kEnough : Result::kEnd;
  message = Shown(*found, spec);
  return Result::kJob;
}

SnapshotWalk::Result SnapshotWalk::NextNamed(const WatchSpec& spec, grpc::ByteBuffer& message) {
  while (next_ < named_.size()) {
    const FineTuneVersion& version = *named_[next_++];
    if (!spec.filter->Matches(version)) continue;
    message = Shown(version, spec);
    return Result::kJob;
  }
  return Result::kEnd;
}

WatchSnapshotPtr SnapshotWalk::End() {
  named_ = {};
  return std::exchange(snapshot_, nullptr);
}

}  // namespace finetune
