#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/segmind/upstream_job.h"
#include "server/segmind/upstream_list.h"

namespace finetune {

// How many jobs of a list are made and recorded at a time, so that others that have something to
// record, or read what is recorded, do not wait for more.
inline constexpr size_t kListSlice = 128;

// What a list says that the one before did not.
struct ListDelta {
  // Items that are new or differ from the last list, in the list's order; only the last of them,
  // and how many more there are before these.
  std::vector<UpstreamJob> changed;
  size_t more_changed = 0;
  // UpstreamJob::id of items that the last list had and this one lacks.
  std::vector<std::string> gone;
  // Items in this list.
  size_t total = 0;
  // Items that could not be read (no id, not an object), left out.
  size_t skipped = 0;
  // Those of them that may be jobs all the same: objects that tell something.
  size_t nameless = 0;
  // Why this may not be the whole list, such as a next page that could not be read. A job that is
  // missing from it then proves nothing.
  std::string more;
  bool whole() const { return more.empty(); }
  // The body was the same, byte for byte.
  bool unchanged = false;
};

// Reads one list after another and says what changed. A body equal to the last costs a comparison;
// an item equal to one of the last list, except for the signatures of its URLs, costs a scan and a
// hash, and is not parsed or converted again. In the first list everything is a change. Jobs take
// several times the memory of their JSON, so those of a long list are made a slice at a time. Not
// thread-safe; owned by the Tracker.
class ListReader {
 public:
  ListReader();
  ~ListReader();

  // Pages as ReadUpstreamPage takes them. Anything else is INTERNAL / UPSTREAM_MALFORMED and
  // changes nothing here. At most this many jobs are in the delta; MoreChanged has the others, for
  // which the pages must stay as they are until all are taken or the next Read.
  absl::StatusOr<ListDelta> Read(const UpstreamList& pages,
                                 size_t most = std::numeric_limits<size_t>::max());
  // A single page, which says itself whether it is complete, and from which nothing is to be
  // removed.
  absl::StatusOr<ListDelta> Read(std::string_view body);

  // Of the jobs in front of those that were taken, the last ones: the end of a list, where the
  // oldest are, comes first. Empty when all were taken.
  std::vector<UpstreamJob> MoreChanged(size_t most);
  // How many are still to be taken.
  size_t more_changed() const;

  // Makes the next Read take everything for new, because what the last one said could not be
  // recorded.
  void Forget();

  // Whether the last list had this UpstreamJob::id.
  bool Has(std::string_view id) const;

 private:
  struct Memory;

  // `more`: as the pager says; nullopt if it did not look. Of `limits` all but its bodies counts.
  absl::StatusOr<ListDelta> ReadBodies(const std::vector<std::string_view>& bodies,
                                       const std::optional<std::string>& more,
                                       const UpstreamList& limits, size_t most);

  std::unique_ptr<Memory> memory_;
};

}  // namespace finetune
