#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/base/trace.h"
#include "server/base/worker.h"
#include "server/jobs/tracking/details_reader.h"
#include "server/jobs/tracking/list_reading.h"
#include "server/jobs/tracking/missing_jobs.h"
#include "server/jobs/tracking/reading_parts.h"
#include "server/jobs/tracking/unknown_words.h"
#include "server/segmind/list_reader.h"

namespace finetune {

// Reads Segmind's lists: asks for one when it is told to, compares it with the last one, records
// what changed, slice by slice, and says which details to ask for. Lists are recorded one after
// another; a list that began before one that is recorded already has nothing new. Part of the
// SegmindReader, which outlives it; tracker thread only.
class ListPoller {
 public:
  // As SegmindReader::Options.
  struct Options {
    int settle_lists = 3;
    absl::Duration settle_time = absl::Minutes(2);
    Tracer* tracer = nullptr;
  };
  // A list that is in the record. Times are steady ones: when it was asked for and when it began.
  struct Recorded {
    absl::Time asked;
    absl::Time start;
    const RollCall& roll;
    const SearchResult& search;
  };
  // Called on the tracker's thread.
  struct Listener {
    std::function<void(const Recorded& list)> on_recorded;
    // One that was asked for then could not be read or recorded.
    std::function<void(absl::Time asked, const absl::Status& status)> on_failed;
    // Something may be due now that was not before.
    std::function<void()> on_step;
  };

  // Answers of others come back through `worker`, whose tasks are the tracker's thread.
  // Both references outlive it.
  ListPoller(const ReadingParts& parts, UnknownWords& unknown_words, DetailsReader& details,
             const Options& options, std::shared_ptr<Worker> worker, Listener listener);

  // When the next list may begin.
  absl::Time NextStart() const;
  // Asks for a list.
  void Start(absl::Time now);
  // No further slice of the list that is being recorded is recorded.
  void Stop(const absl::Status& why) { stopped_ = why; }

  // A webhook gave this name of a job at Segmind, which nobody knew: the next list may have it.
  void NoteHint(const std::string& upstream_id, absl::Time time);

 private:
  struct ListRead {
    uint64_t number = 0;         // Catalog::NextRead, as it began.
    uint64_t begun = 0;          // ReadNumbers::NotAfterNow, likewise.
    uint64_t ended = 0;          // And as it ended.
    absl::Time asked;            // At most the answer's start_time.
    std::shared_ptr<Span> span;  // Ends when the last copy of the read is gone.
    ListAnswer answer;
  };

  // A list that is being recorded, slice by slice from its end, so that others that have something
  // to record, or want a job, do not wait for all of it.
  struct Recording {
    ListRead read;
    RollCall roll;
    // Of the slice that is under way: the recorder's until it is done.
    ListReading reading;
    ListOutcome slice;
    // Of the slices before.
    ListOutcome outcome;
  };

  void OnList(uint64_t number, absl::StatusOr<ListAnswer> answer);
  void TakeNextList();
  // The next one is told as if it were the first.
  void ForgetLists();
  void RecordDelta(ListRead read, ListDelta delta);
  // Records these items, and then those in front of them; `more`: there are such.
  void RecordSlice(const std::shared_ptr<Recording>& recording, std::vector<UpstreamJob> items,
                   bool more);
  void OnSliceRecorded(const std::shared_ptr<Recording>& recording, const absl::Status& status);
  RollCall RollCallOf(const ListRead& read, ListDelta& delta);
  SubmissionSearch SearchIn(const ListRead& read, const RollCall& roll);
  void OnListRecorded(const Recording& recording, const absl::Status& status);
  void OnListFailed(const ListRead& read, const absl::Status& status);
  void Follow(const ListOutcome& outcome);
  void NoteWords(const ListOutcome& outcome);
  void NoteMarkers(const ListOutcome& outcome);
  void NoteTooMany(const Recording& recording);

  const ReadingParts parts_;
  UnknownWords& unknown_words_;
  DetailsReader& details_;
  const Options options_;
  const std::shared_ptr<Worker> worker_;
  const Listener listener_;

  absl::Status stopped_;
  // Under way (by number), and read.
  absl::flat_hash_map<uint64_t, ListRead> lists_;
  std::deque<ListRead> answers_;
  bool recording_ = false;
  // While a list is being recorded, the recorder's thread looks into it, too, and may still when
  // this is gone.
  const std::shared_ptr<ListReader> reader_;
  bool reader_is_new_ = true;
  bool too_many_candidates_ = false;  // Some of the last list had no room.
  std::string last_doubt_;            // About what the last list told of submissions; empty: none.
  uint64_t reader_loads_ = 0;         // Catalog::loads, as of the lists that reader_ knows.
  uint64_t last_recorded_ = 0;
  absl::flat_hash_map<std::string, absl::Time> hinted_;
  absl::flat_hash_set<std::string> markers_checked_;
};

}  // namespace finetune
