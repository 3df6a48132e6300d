#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/jobs/filter/filter.h"
#include "server/jobs/watching/watch_pending.h"

namespace finetune {

class ShardWatcher;

// Watchers by what they ask for, so that a change visits only those that it concerns: by job if
// they name jobs; otherwise by filter, each filter once and, if it requires an equality, found by
// that. Not thread-safe.
class WatchIndex {
 public:
  using WatcherPtr = std::shared_ptr<ShardWatcher>;
  struct Hit {
    WatcherPtr watcher;
    WatchMatch match;
  };

  void Add(const WatcherPtr& watcher);
  // False if it is not there. The pointer that was held goes to `removed`.
  bool Remove(const ShardWatcher& watcher, WatcherPtr& removed);

  // The watchers that the change concerns, each once.
  void Find(const VersionChange& change, std::vector<Hit>& hits) const;
  std::vector<WatcherPtr> All() const;

 private:
  using Members = std::vector<WatcherPtr>;
  // Watchers of one filter.
  struct Group {
    FilterPtr filter;
    std::optional<std::string> index_key;
    Members members;
  };

  void FindInGroup(const Group& group, const VersionChange& change, std::vector<Hit>& hits) const;
  void DropGroup(const std::string& key);

  absl::flat_hash_map<std::string, Members> by_id_;
  absl::flat_hash_map<std::string, std::unique_ptr<Group>> by_filter_;
  // The groups again: by the equality that they require, and those that require none.
  absl::flat_hash_map<std::string, std::vector<Group*>> by_index_key_;
  std::vector<Group*> unindexed_;
};

}  // namespace finetune
