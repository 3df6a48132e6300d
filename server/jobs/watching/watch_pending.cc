#include "server/jobs/watching/watch_pending.h"

#include <utility>

namespace finetune {

WatchMatch MatchOf(const Filter& filter, const VersionChange& change) {
  return {.before = change.before() != nullptr && filter.Matches(*change.before()),
          .after = !change.forgotten() && filter.Matches(*change.after())};
}

pb::Change::Type TypeOf(const VersionChange& change, WatchMatch match) {
  if (!match.after) return pb::Change::LEFT_FILTER;
  return change.before() == nullptr ? pb::Change::CREATED : pb::Change::UPDATED;
}

void WatchPending::Add(const ChangePtr& change, WatchMatch match, bool may_have) {
  if (!match.concerned()) return;
  PendingChange entry{.change = change,
                      .had = match.before || (may_have && change->before() != nullptr),
                      .created = change->before() == nullptr,
                      .matches = match.after};
  if (auto known = revision_of_.find(change->after()->id); known != revision_of_.end()) {
    auto earlier = by_revision_.find(known->second);
    entry.had = earlier->second.had;
    entry.created = earlier->second.created;
    // First, because the key's bytes belong to the earlier change.
    revision_of_.erase(known);
    by_revision_.erase(earlier);
  }
  // The job came and went without the client seeing it.
  if (!entry.matches && !entry.had) return;
  revision_of_[change->after()->id] = change->revision();
  by_revision_.emplace(change->revision(), std::move(entry));
}

std::optional<WatchPending::Delivery> WatchPending::Pop() {
  if (by_revision_.empty()) return std::nullopt;
  auto first = by_revision_.begin();
  PendingChange entry = std::move(first->second);
  revision_of_.erase(entry.change->after()->id);
  by_revision_.erase(first);
  const pb::Change::Type type = !entry.matches                ? pb::Change::LEFT_FILTER
                                : entry.created && !entry.had ? pb::Change::CREATED
                                                              : pb::Change::UPDATED;
  return Delivery{std::move(entry.change), type};
}

}  // namespace finetune
