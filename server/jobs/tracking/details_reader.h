#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/base/worker.h"
#include "server/jobs/tracking/details_queue.h"
#include "server/jobs/tracking/reading_parts.h"

namespace finetune {

// Reads single jobs by `details`: asks Segmind about those that its queue says are due, joins the
// answers into the record, tells the tracker's other parts what they prove, and finds out which
// jobs are gone. Part of the SegmindReader, which outlives it; tracker thread only.
class DetailsReader {
 public:
  // Called on the tracker's thread.
  struct Listener {
    // Details that the search for submissions had asked for are there, or cannot be had.
    std::function<void()> on_search_news;
    // More is known of how new what the view shows of a job is.
    std::function<void()> on_observed;
    // Something may be due now that was not before.
    std::function<void()> on_step;
  };

  // Answers of others come back through `worker`, whose tasks are the tracker's thread.
  // `settle_time`: how long Segmind may take to show a job that it accepted.
  DetailsReader(const ReadingParts& parts, absl::Duration settle_time,
                std::shared_ptr<Worker> worker, Listener listener);

  // Once the catalog is loaded: what its records lack is to be read.
  void AddBackfills();
  // Starts no further call, and takes no answer.
  void Stop() { stopped_ = true; }

  DetailsQueue& queue() { return queue_; }
  const DetailsQueue& queue() const { return queue_; }
  // Asks for all that is due.
  void Start(absl::Time now);

  // Jobs that had ended and that a list says go on: to be asked for with each list, until details
  // or a later list that changed the job have told.
  void Doubt(const std::vector<std::string>& upstream_ids);
  void DropDoubt(const std::string& upstream_id) { doubtful_.erase(upstream_id); }
  bool has_doubts() const { return !doubtful_.empty(); }

  // Segmind answered a submission that was made between these two moments with this job: its
  // details teach what Segmind's clock says, as long as that is not known.
  void NoteSubmitted(const std::string& upstream_id, absl::Time begin, absl::Time end);

 private:
  struct Read {
    DetailsQueue::Task task;
    std::string name;  // Which of the job's two names at Segmind was asked for.
    uint64_t number = 0;
    absl::Time asked;
  };
  // When a submission was made, by its job at Segmind.
  struct Submitted {
    absl::Time begin;
    absl::Time end;
  };

  void Ask(DetailsQueue::Task task, const std::string& name);
  void OnAnswer(const Read& read, absl::StatusOr<DetailsAnswer> answer);
  void OnDetails(const Read& read, DetailsAnswer answer);
  void OnFailed(const Read& read, const absl::Status& status);
  void LearnCreated(const UpstreamJob& job);
  void Record(const Read& read, DetailsAnswer answer);
  void OnRecorded(const Read& read, absl::Time start, const absl::Status& status);
  void OnUnknownId(const Read& read);
  void RecordLost(const Read& read);

  const ReadingParts parts_;
  const absl::Duration settle_time_;
  const std::shared_ptr<Worker> worker_;
  const Listener listener_;

  bool stopped_ = false;
  DetailsQueue queue_;
  absl::flat_hash_set<std::string> doubtful_;
  absl::flat_hash_map<std::string, Submitted> submitted_;
};

}  // namespace finetune
