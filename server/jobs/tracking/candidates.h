#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/jobs/tracking/submission_search.h"

namespace finetune {

// Which jobs at Segmind may be submissions whose outcome is not known, and what is known of them
// between two reads. One that may be is not made visible as somebody else's job until its details
// were read. Tracker thread only.
class Candidates {
 public:
  // For the next search: what is known so far.
  std::vector<Candidate> Snapshot() const;
  const Absences& absences() const { return absences_; }

  // Lists showed these as well; one that is known already takes what the list says anew.
  void Add(std::vector<Candidate> seen);
  // Forgets what lists no longer have.
  template <typename Has>
  void KeepOnly(const Has& has) {
    absl::erase_if(jobs_, [&](const auto& entry) { return !has(entry.first); });
  }

  // What a search came to. Its dropped candidates are to be forgotten.
  void Take(const SearchResult& result, bool with_absences);

  bool Has(const std::string& upstream_id) const { return jobs_.contains(upstream_id); }
  bool empty() const { return jobs_.empty(); }

  // The details of one; or they could not be read, and after some tries, or at once if that is
  // `for_good`, they count as read.
  void TakeDetails(const std::string& upstream_id, const UpstreamJob& details, uint64_t read,
                   absl::Time time);
  void TakeNoDetails(const std::string& upstream_id, bool for_good);
  // With each list those that could not be read for a while are asked for again.
  void AskAgain();

  // Submissions that were undecided before are told once.
  bool IsNews(const std::string& fine_tune_id) { return told_.insert(fine_tune_id).second; }

 private:
  struct Known {
    Candidate candidate;
    int tries = 0;
    // It counts as read although it may still be.
    bool gave_up = false;
  };

  absl::flat_hash_map<std::string, Known> jobs_;  // By UpstreamJob::id.
  Absences absences_;
  absl::flat_hash_set<std::string> told_;
};

}  // namespace finetune
