#include "server/jobs/watching/watch_hub.h"

#include <algorithm>
#include <utility>

#include "server/jobs/watching/watch_context.h"
#include "server/jobs/watching/watch_shard.h"
#include "server/jobs/watching/watcher.h"

namespace finetune {

WatchHub::WatchHub(Options options, Catalog& catalog, Clock& clock, Metrics& metrics,
                   std::vector<std::shared_ptr<WatchWaiter>> waiters)
    : context_(std::make_shared<WatchContext>(options, catalog, clock, metrics)) {
  if (waiters.empty()) {
    for (int i = 0; i < std::max(1, options.threads); ++i)
      waiters.push_back(std::make_shared<IdleWaiter>());
  }
  for (size_t i = 0; i < waiters.size(); ++i) {
    shards_.push_back(
        std::make_shared<WatchShard>(absl::StrCat("watch-", i), context_, std::move(waiters[i])));
    shards_.back()->Start();
  }
}

WatchHub::~WatchHub() {
  context_->Close(nullptr);
  for (const auto& shard : shards_) shard->Stop();
  context_->walks.Stop();
}

absl::StatusOr<std::shared_ptr<Watcher>> WatchHub::Watch(WatchSpec spec, WatchSink* sink,
                                                         std::optional<size_t> home) {
  if (absl::Status status = context_->Admit(); !status.ok()) return status;
  std::sort(spec.ids.begin(), spec.ids.end());
  spec.ids.erase(std::unique(spec.ids.begin(), spec.ids.end()), spec.ids.end());
  const auto& shard = shards_[(home ? *home : next_shard_++) % shards_.size()];
  auto watcher = std::make_shared<ShardWatcher>(std::move(spec), sink, context_, shard);
  if (absl::Status status = watcher->Start(); !status.ok()) {
    context_->Leave();
    return status;
  }
  shard->EndIfLate(watcher);
  return watcher;
}

void WatchHub::OnCommitted(absl::Span<const ChangePtr> changes) {
  for (const auto& shard : shards_) shard->Enqueue(changes);
}

void WatchHub::OnReloading() { context_->NextReload(); }

void WatchHub::OnReloaded() {
  context_->NextReload();
  for (const auto& shard : shards_) shard->EndOutdated();
}

void WatchHub::Drain(absl::Duration over, absl::Duration patience,
                     absl::AnyInvocable<void() &&> done) {
  context_->Close(std::move(done));
  for (const auto& shard : shards_) shard->EndAll(over, patience);
}

int64_t WatchHub::watcher_count() const { return context_->count(); }

void WatchHub::AwaitIdle() {
  for (const auto& shard : shards_) shard->AwaitIdle();
}

}  // namespace finetune
