#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "server/jobs/tracking/submission_search.h"

namespace finetune {

// The jobs at Segmind that may be submissions whose outcome is not known, and what is known about
// them between two reads. Such a job is not shown as somebody else's until its details were read.
// Tracker thread only.
class Candidates {
 public:
  // `patience`: how long a job whose details cannot be read is not taken for somebody else's.
  explicit Candidates(absl::Duration patience) : patience_(patience) {}

  // For the next search: what is known so far.
  std::vector<Candidate> Snapshot() const;
  const Absences& absences() const { return absences_; }

  // Lists showed these as well; a known candidate is updated with what the list says.
  void Add(std::vector<Candidate> seen);
  // Forgets what lists no longer have.
  template <typename Has>
  void KeepOnly(const Has& has) {
    absl::erase_if(jobs_, [&](const auto& entry) { return !has(entry.first); });
  }

  // What a search came to. Its dropped candidates are to be forgotten. After one of a list that has
  // `uncompared` submissions, the next list is to name all jobs.
  void Take(const SearchResult& result, bool of_list);

  // The jobs that were dropped since the gateway began to look for a submission, by
  // UpstreamJob::id: they are none of the submissions known then, and existed before any later one.
  // But a record that was loaded anew may know less, and may have to look again for one that it had
  // found.
  using Ids = absl::flat_hash_set<std::string>;
  const std::shared_ptr<const Ids>& dropped() const { return dropped_; }
  // SubmissionSearch::compared: of the next list, which is a whole one if it has news; and of a
  // search that comes before it.
  const std::shared_ptr<const Ids>& compared_by_next_list() const { return compared_by_next_list_; }
  const std::shared_ptr<const Ids>& compared() const { return compared_; }
  // All of these, when nothing is looked for any more; or when the record was loaded anew, as often as
  // `loads` says.
  void ForgetDropped(uint64_t loads);

  bool Has(const std::string& upstream_id) const { return jobs_.contains(upstream_id); }
  bool empty() const { return jobs_.empty(); }

  // Takes the details of one, or that they could not be read at this (steady) time. After some
  // tries, or one if that is `for_good`, they are put off until the next list, and once the
  // patience has ended they count as read until then.
  void TakeDetails(const std::string& upstream_id, const UpstreamJob& details, uint64_t read,
                   absl::Time time);
  void TakeNoDetails(const std::string& upstream_id, bool for_good, absl::Time now);
  // With each list those that could not be read for a while are asked for again.
  void AskAgain();

  // Submissions that were undecided before are told once.
  bool IsNews(const std::string& fine_tune_id) { return told_.insert(fine_tune_id).second; }

 private:
  struct Known {
    Candidate candidate;
    int tries = 0;
    // Of the tries since details were last read.
    std::optional<absl::Time> first_failed;
    // It counts as read although it may still be.
    bool gave_up = false;
  };

  const absl::Duration patience_;

  absl::flat_hash_map<std::string, Known> jobs_;  // By UpstreamJob::id.
  Absences absences_;
  std::shared_ptr<const Ids> dropped_ = std::make_shared<const Ids>();
  std::shared_ptr<const Ids> compared_by_next_list_ = std::make_shared<const Ids>();
  std::shared_ptr<const Ids> compared_ = compared_by_next_list_;
  uint64_t loads_ = 0;  // Of the record that these rest on.
  absl::flat_hash_set<std::string> told_;
};

}  // namespace finetune
