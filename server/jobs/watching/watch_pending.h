#pragma once

#include <optional>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "server/jobs/filter/filter.h"
#include "server/jobs/record/version_change.h"

namespace finetune {

// Whether a watcher's filter matches the versions before and after a change.
struct WatchMatch {
  bool before = false;
  bool after = false;

  bool concerned() const { return before || after; }
};

WatchMatch MatchOf(const Filter& filter, const VersionChange& change);
// What a change is to a client that was told of all changes before it.
pb::Change::Type TypeOf(const VersionChange& change, WatchMatch match);

// The jobs that a slow watcher (LATEST) has yet to see, each only with its latest change. They
// leave in the order of those changes: once the one at revision R has been sent, so has every job's
// latest state up to R, which makes the resume token true. Not thread-safe.
class WatchPending {
 public:
  struct Delivery {
    ChangePtr change;
    pb::Change::Type type;
  };

  // `change` is later than all added before it. `may_have`: the client may have the job although
  // the version before the change does not match, because it was not told of all before it.
  void Add(const ChangePtr& change, WatchMatch match, bool may_have = false);

  // Takes out the next one to send; nullopt if there is none.
  std::optional<Delivery> Pop();

  bool empty() const { return by_revision_.empty(); }
  size_t size() const { return by_revision_.size(); }

 private:
  struct PendingChange {
    ChangePtr change;
    bool had;      // The client has the job, as far as it was told.
    bool created;  // The client does not have the job, and it is new to everybody.
    bool matches;
  };

  absl::btree_map<uint64_t, PendingChange> by_revision_;
  // The ids' bytes are those of the entries' changes.
  absl::flat_hash_map<std::string_view, uint64_t> revision_of_;
};

}  // namespace finetune
