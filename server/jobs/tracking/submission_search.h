#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/jobs/record/merge.h"
#include "server/jobs/record/recorder.h"
#include "server/segmind/upstream_job.h"

namespace finetune {

// A job at Segmind that may be a submission whose outcome is not known.
struct Candidate {
  // What lists and details told of it together.
  UpstreamJob job;
  // A number taken when the first of those reads had ended; the number of the latest; and when that
  // began, by the time of day.
  uint64_t shown_read = 0;
  uint64_t read = 0;
  absl::Time time;
  // How the latest came about.
  pb::StateTransition::Source source = pb::StateTransition::POLL;
  // Whether `job` has what details tell, or cannot have it.
  bool details_read = false;
  // Details could not be read for now: they are asked for with the next list.
  bool details_put_off = false;
  // The job of this gateway whose marker it carries, though its submission was under way or given
  // up, or lists do not have it; empty if there is none. And what that job was called at Segmind.
  std::string lost_id;
  std::string lost_upstream_id;
};

// How long lists have been without a submission.
struct Absence {
  int lists = 0;
  absl::Time since;  // When the first of them began; steady.
};
using Absences = absl::flat_hash_map<std::string, Absence>;  // By Intent.fine_tune_id.

// The search for submissions whose outcome is not known, over all jobs that may be one.
struct SubmissionSearch {
  std::vector<Candidate> candidates;

  // Only where a list was read:
  // Whether a submission's absence from it says anything; if so, the list's number and steady time.
  bool counts_absence = false;
  uint64_t list_read = 0;
  absl::Time list_time;
  Absences absences;
  int settle_lists = 0;
  absl::Duration settle_time;

  // Of submissions that were brought back (Intent.brought_back), those that all jobs were compared
  // with, by Intent.fine_tune_id. Lists name what has changed only, so for the others nothing is
  // decided yet. May be null.
  std::shared_ptr<const absl::flat_hash_set<std::string>> compared;
};

// What a search found out about the submissions that it looked for.
struct SearchResult {
  // A submission that cannot be told from what it is not: it stays SUBMIT_UNKNOWN.
  struct Undecided {
    record::Intent intent;
    std::vector<std::string> upstream_ids;  // Of what it may be.
  };

  // A job with the marker of one of ours that it cannot be, for it asks for something else.
  struct Unlike {
    std::string id;
    std::string upstream_id;
  };

  // Ids of jobs that are no longer SUBMIT_UNKNOWN, or were given up and are there after all.
  std::vector<std::string> settled;
  // UpstreamJob::id of candidates that became a submission's job, and of those that are none's.
  std::vector<std::string> adopted;
  std::vector<std::string> dropped;
  // Of those whose details decide.
  std::vector<std::string> wanted;
  std::vector<Undecided> undecided;
  std::vector<Unlike> unlike;
  // Intent.fine_tune_id of those that all jobs have to be compared with first.
  std::vector<std::string> uncompared;
  Absences absences;
  int unsettled = 0;
  // Catalog::loads of the record in which it was searched.
  uint64_t loads = 0;
};

// Runs within one mutation. A candidate becomes a submission's job only if it alone is clearly
// that, all evidence taken together (Likeness); a submission counts as not made only if no
// candidate may be it and enough lists lacked it. In all other cases it stays open. In the same
// way, a candidate with the marker of a job that was given up becomes that job. Candidates that
// turn out to be nobody's, or that cannot be told apart, become visible as jobs of their own.
absl::Status SearchSubmissions(const SubmissionSearch& search, Draft& draft, SearchResult& result);

// Makes a job visible that no submission of this gateway made; nothing if it is visible.
void RecordForeign(const Reading& reading, Draft& draft);

}  // namespace finetune
