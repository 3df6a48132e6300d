#include "server/jobs/watching/watch_index.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "server/jobs/watching/watcher.h"

namespace finetune {
namespace {

// Takes one element out of a vector whose order does not matter.
template <typename Vector, typename Predicate>
bool Take(Vector& from, Predicate predicate, typename Vector::value_type* taken = nullptr) {
  auto it = std::find_if(from.begin(), from.end(), predicate);
  if (it == from.end()) return false;
  if (taken != nullptr) *taken = std::move(*it);
  if (it != from.end() - 1) *it = std::move(from.back());
  from.pop_back();
  return true;
}

}  // namespace

void WatchIndex::Add(const WatcherPtr& watcher) {
  const WatchSpec& spec = watcher->spec();
  for (const std::string& id : spec.ids) by_id_[id].push_back(watcher);
  if (!spec.ids.empty()) return;

  std::unique_ptr<Group>& group = by_filter_[spec.filter->key()];
  if (group == nullptr) {
    group = std::make_unique<Group>();
    group->filter = spec.filter;
    group->index_key = spec.filter->index_key();
    auto& among = group->index_key ? by_index_key_[*group->index_key] : unindexed_;
    among.push_back(group.get());
  }
  group->members.push_back(watcher);
}

bool WatchIndex::Remove(const ShardWatcher& watcher, WatcherPtr& removed) {
  const auto is_it = [&](const WatcherPtr& other) { return other.get() == &watcher; };
  const WatchSpec& spec = watcher.spec();
  bool found = false;
  for (const std::string& id : spec.ids) {
    auto members = by_id_.find(id);
    if (members == by_id_.end()) continue;
    found |= Take(members->second, is_it, &removed);
    if (members->second.empty()) by_id_.erase(members);
  }
  if (!spec.ids.empty()) return found;

  const std::string& key = spec.filter->key();
  auto group = by_filter_.find(key);
  if (group == by_filter_.end()) return false;
  found = Take(group->second->members, is_it, &removed);
  if (group->second->members.empty()) DropGroup(key);
  return found;
}

void WatchIndex::DropGroup(const std::string& key) {
  auto it = by_filter_.find(key);
  Group* group = it->second.get();
  const auto is_it = [&](const Group* other) { return other == group; };
  if (group->index_key) {
    auto among = by_index_key_.find(*group->index_key);
    Take(among->second, is_it);
    if (among->second.empty()) by_index_key_.erase(among);
  } else {
    Take(unindexed_, is_it);
  }
  by_filter_.erase(it);
}

void WatchIndex::Find(const VersionChange& change, std::vector<Hit>& hits) const {
  if (auto members = by_id_.find(change.after()->id); members != by_id_.end()) {
    for (const WatcherPtr& watcher : members->second) {
      const WatchMatch match = MatchOf(*watcher->spec().filter, change);
      if (match.concerned()) hits.push_back({watcher, match});
    }
  }
  for (const Group* group : unindexed_) FindInGroup(*group, change, hits);
  if (by_index_key_.empty()) return;

  const auto visit = [&](const std::string& key) {
    auto groups = by_index_key_.find(key);
    if (groups == by_index_key_.end()) return;
    for (const Group* group : groups->second) FindInGroup(*group, change, hits);
  };
  const std::vector<std::string> after = IndexKeysOf(*change.after());
  for (const std::string& key : after) visit(key);
  if (change.before() == nullptr) return;
  for (const std::string& key : IndexKeysOf(*change.before())) {
    if (std::find(after.begin(), after.end(), key) == after.end()) visit(key);
  }
}

void WatchIndex::FindInGroup(const Group& group, const VersionChange& change,
                             std::vector<Hit>& hits) const {
  const WatchMatch match = MatchOf(*group.filter, change);
  if (!match.concerned()) return;
  for (const WatcherPtr& watcher : group.members) hits.push_back({watcher, match});
}

std::vector<WatchIndex::WatcherPtr> WatchIndex::All() const {
  absl::flat_hash_set<WatcherPtr> all;  // Who names several jobs is there several times.
  for (const auto& [id, members] : by_id_) all.insert(members.begin(), members.end());
  for (const auto& [key, group] : by_filter_) {
    all.insert(group->members.begin(), group->members.end());
  }
  return {all.begin(), all.end()};
}

}  // namespace finetune
