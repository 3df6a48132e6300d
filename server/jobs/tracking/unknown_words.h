#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"

namespace finetune {

// Jobs in a state for which Segmind uses a word that is unknown here. Such a job may have ended, so
// it is not followed, or counted against its caller, forever. Times are steady. Tracker thread
// only.
class UnknownWords {
 public:
  explicit UnknownWords(absl::Duration timeout) : timeout_(timeout) {}

  // The job has had the word since then, or longer. True if no job had it before.
  bool Note(const std::string& upstream_id, const std::string& word, absl::Time since);

  // Takes those that have been so for longer than the timeout.
  std::vector<std::string> TakeDue(absl::Time now);
  absl::Time NextDue() const;

  size_t size() const { return since_.size(); }

 private:
  struct Job {
    std::string word;
    absl::Time since;
  };

  const absl::Duration timeout_;
  absl::flat_hash_map<std::string, Job> since_;  // By UpstreamJob::id.
  absl::flat_hash_set<std::string> seen_;
};

}  // namespace finetune
