#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/tracking/submission_search.h"
#include "server/segmind/upstream_job.h"

namespace finetune {

// What one list brought, or a slice of it, to be recorded in one mutation.
struct ListReading {
  uint64_t read = 0;
  uint64_t ended = 0;  // A number taken when the list was there.
  absl::Time time;     // When it began, by the time of day.
  // What changed since the last list.
  std::vector<UpstreamJob> items;
  // Names at Segmind that a webhook gave and nobody knew, and when (steady).
  absl::flat_hash_map<std::string, absl::Time> hinted;
  // Whether the list has a job under that UpstreamJob::id. Any thread, until this is recorded.
  std::function<bool(const std::string&)> has;
  // With the candidates that are known from before.
  SubmissionSearch search;
  // Candidates that slices of the same list brought before this one.
  std::vector<Candidate> found;
  bool too_many = false;  // As ListOutcome's.
  // Jobs that were candidates and are nobody's, by UpstreamJob::id; may be null.
  std::shared_ptr<const absl::flat_hash_set<std::string>> dropped;
  // Other slices follow: not until the last one is it known what the list shows of a submission.
  bool more = false;
};

// What is to be done once it is recorded.
struct ListOutcome {
  struct UnknownWord {
    std::string upstream_id;
    std::string word;
    absl::Time since;  // By the time of day.
  };

  // UpstreamJob::id of jobs whose details should be read: to check a list that moves a job out of a
  // terminal state; because a newer read had said something else; for what the state that they have
  // just come to is for; for what lists lack.
  std::vector<std::string> doubtful;
  std::vector<std::string> stale;
  std::vector<std::string> pending;
  std::vector<std::string> incomplete;
  // New to the search.
  std::vector<Candidate> candidates;
  // Others may be submissions, too, and had no room among the candidates: the absence of one says
  // nothing until they were read again.
  bool too_many = false;
  SearchResult search;
  // Arrival times of hints that were about jobs in this list.
  std::vector<absl::Time> hint_times;
  // Jobs of answered submissions that do not have the marker that was sent.
  std::vector<std::string> without_marker;
  std::vector<UnknownWord> unknown_words;

  // What a further slice of the same list left; its search is the list's.
  void Add(ListOutcome slice);
};

// Joins the items into the jobs, makes records of jobs from elsewhere, and looks for submissions
// whose outcome is not known.
absl::Status RecordList(const ListReading& reading, Draft& draft, ListOutcome& outcome);

}  // namespace finetune
