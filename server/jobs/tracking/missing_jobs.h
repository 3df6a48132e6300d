#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/jobs/record/catalog.h"

namespace finetune {

// One list, as far as it says which jobs there are.
struct RollCall {
  absl::Time asked = absl::InfinitePast();  // Steady.
  // Steady. What it shows is at least as new; before it was asked for where a cache answered.
  absl::Time start_time;
  size_t total = 0;
  size_t nameless = 0;            // Items that may be jobs, with no id that can be read.
  std::string more;               // Why it is not complete, in its own words.
  bool all_new = false;           // The first one, or the first after one was forgotten.
  std::vector<std::string> gone;  // UpstreamJob::id of those that the list before had.
  std::function<bool(std::string_view)> has;
};

// The jobs that Segmind's lists do not show, and what that proves. A job may be gone, or the list
// may not be complete; only details can tell the two apart. Tracker thread only; `catalog` outlives
// it.
class MissingJobs {
 public:
  explicit MissingJobs(const Catalog& catalog) : catalog_(catalog) {}

  // Once the catalog is loaded.
  void Begin();

  // Why a submission's absence from this list proves nothing; empty if it proves something. Looks
  // at every job.
  std::string DoubtOf(const RollCall& list) const;

  // The list was recorded. `looked_for`: whether a submission is being looked for, so that all jobs
  // are compared at once.
  void Note(const RollCall& list, bool looked_for);

  // Jobs whose details should be asked for now, those that go on first.
  std::vector<std::string> TakeDue(absl::Time now);

  // Details that began at `time` showed the job: the list is not complete.
  void OnFound(const std::string& upstream_id, absl::Time time);
  // Details do not know the job either: whether it is gone. Forgets it if so.
  bool OnUnknown(const std::string& upstream_id, absl::Time asked, absl::Duration young);

  bool Has(const std::string& upstream_id) const { return missing_.contains(upstream_id); }
  // Why lists are known not to show all jobs; empty if they are not.
  const std::string& partial() const { return partial_; }
  // Whether lists lack a job about which nothing is known yet.
  bool undecided() const;
  Catalog::NotShown not_shown() const;

 private:
  struct Missing {
    int lists = 0;
    absl::Time since;                         // The first list that lacked it.
    absl::Time shown = absl::InfinitePast();  // When the latest read that showed it began.
    absl::Time ask_next = absl::InfinitePast();
    bool is_there = false;  // Details say so.
  };

  bool Lacks(const RollCall& list, const FineTuneVersion& version) const;
  void FindMissing(const RollCall& list);
  void NotePartial(const RollCall& list);

  const Catalog& catalog_;

  absl::flat_hash_map<std::string, Missing> missing_;  // By FineTuneVersion::upstream_id.
  absl::Time looked_at_all_ = absl::InfinitePast();
  absl::Time last_list_ = absl::InfinitePast();
  size_t trusted_total_ = 0;
  size_t usual_nameless_ = 0;  // Of lists that came while nothing was looked for.
  size_t longest_ = 0;         // Of all lists.
  std::string partial_;
};

}  // namespace finetune
