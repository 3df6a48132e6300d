#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/segmind/upstream_job.h"

namespace finetune {

// A job at Segmind that may be a submission without a marker whose outcome is unknown.
struct Candidate {
  std::string upstream_id;
  std::string fine_tune_id;  // The submission's.

  friend bool operator==(const Candidate&, const Candidate&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Candidate& c) {
    return H::combine(std::move(h), c.upstream_id, c.fine_tune_id);
  }
};

// What one list brought, to be recorded in one mutation.
struct ListBatch {
  absl::Time start_time;
  // What changed, and what earlier batches held back.
  std::vector<UpstreamJob> items;
  // When those that were held back were first seen, by UpstreamJob::id.
  absl::flat_hash_map<std::string, absl::Time> held_since;
  // Names at Segmind that a webhook gave and nobody knew.
  absl::flat_hash_map<std::string, absl::Time> hinted;
  // Candidates that details showed to be something else.
  absl::flat_hash_set<Candidate> rejected;
  // Whether a submission's absence from this list says anything.
  bool counts_absence = false;
  // Whether the list has a job under that UpstreamJob::id. Any thread, until this is recorded.
  std::function<bool(const std::string&)> has;
  int settle_lists = 0;
  absl::Duration settle_time;
};

// What is to be done once it is recorded.
struct ListOutcome {
  // UpstreamJob::id of jobs whose details should be read: to check a list that moves a job out of a
  // terminal state; because a newer read had said something else; for what lists lack.
  std::vector<std::string> doubtful;
  std::vector<std::string> stale;
  std::vector<std::string> incomplete;
  // Not made visible until it is known whose they are.
  std::vector<UpstreamJob> held;
  absl::flat_hash_map<std::string, absl::Time> held_since;
  std::vector<Candidate> candidates;
  // Ids of jobs that are no longer SUBMIT_UNKNOWN.
  std::vector<std::string> settled;
  // Arrival times of hints that were about jobs in this list.
  std::vector<absl::Time> hint_times;
  int unsettled = 0;
};

// Joins the items into the jobs, adopts submissions by their markers, makes records of jobs from
// elsewhere, and counts the lists that an unknown submission was missing from.
absl::Status RecordList(const ListBatch& batch, const Catalog& catalog, Draft& draft,
                        ListOutcome& outcome);

// Records the details of a candidate: it becomes the submission's job if its prompt is the
// submission's and it was not made before. `matched` says whether it did.
absl::Status RecordCandidate(const Candidate& candidate, const UpstreamJob& job,
                             absl::Time start_time, Draft& draft, bool& matched);

}  // namespace finetune
