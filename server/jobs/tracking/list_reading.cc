#include "server/jobs/tracking/list_reading.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/merge.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/tracking/candidates.h"
#include "server/jobs/tracking/likeness.h"

namespace finetune {
namespace {

// How many jobs that may be a submission's are looked into at once, and as many again that carry a
// marker, so that jobs without a marker that look alike in lists do not keep others out.
constexpr size_t kMostCandidates = 50;

// How many jobs with the marker of one given-up submission are looked into.
constexpr int kMostWithOneMarker = 8;

// One run of RecordList.
class ListRecording {
 public:
  ListRecording(const ListReading& reading, Draft& draft, ListOutcome& outcome)
      : list_(reading), draft_(draft), outcome_(outcome) {}

  absl::Status Run() {
    unsettled_ = draft_.UnsettledIntents();
    for (const auto* candidates : {&list_.search.candidates, &list_.found}) {
      for (const Candidate& candidate : *candidates) {
        known_.insert(candidate.job.id);
        Count(candidate);
        if (!candidate.lost_id.empty()) ++with_marker_of_[candidate.lost_id];
      }
    }
    for (const UpstreamJob& item : list_.items) RETURN_IF_ERROR(RecordItem(item));
    return list_.more ? absl::OkStatus() : SearchAll();
  }

 private:
  // A job of this gateway, and its name at Segmind as far as that is known.
  struct Lost {
    std::string id;
    std::string upstream_id;
  };

  Reading ReadingOf(const UpstreamJob& item) {
    Reading reading{.job = item, .read = list_.read, .ended = list_.ended, .time = list_.time};
    for (const std::string* name : {&item.id, &item.request_id}) {
      auto hint = list_.hinted.find(*name);
      if (name->empty() || hint == list_.hinted.end()) continue;
      reading.source = pb::StateTransition::WEBHOOK;
      outcome_.hint_times.push_back(hint->second);
    }
    return reading;
  }

  absl::Status RecordItem(const UpstreamJob& item) {
    const Reading reading = ReadingOf(item);
    auto record = FindRecordOf(draft_, item);
    const bool is_own = record && !record->request_id().empty();
    auto lost = record ? std::nullopt : FindLost(item);
    if (lost && !known_.contains(item.id) && ++with_marker_of_[lost->id] > kMostWithOneMarker)
      lost.reset();
    const uint64_t shown_read = record ? record->shown_read() : list_.ended;
    if (!is_own && (lost || MayBeSubmitted(item, shown_read))) {
      Candidate candidate{.job = item,
                          .shown_read = shown_read,
                          .read = list_.read,
                          .time = list_.time,
                          .source = reading.source};
      if (lost) {
        candidate.lost_id = lost->id;
        candidate.lost_upstream_id = lost->upstream_id;
      } else if (const auto open = FindOpen(item)) {
        candidate.lost_id = open->fine_tune_id();
      }
      const bool is_marked = !candidate.lost_id.empty();
      const bool taken = Take(std::move(candidate));
      // The job is not made visible before it is known whose it is.
      if (!record && (taken || is_marked)) return absl::OkStatus();
    }
    if (record) {
      JoinKnown(reading, *std::move(record));
    } else {
      RecordForeign(reading, draft_);
      NoteWord(item.id, item.status, list_.time);
      outcome_.incomplete.push_back(item.id);
    }
    return absl::OkStatus();
  }

  bool MayBeSubmitted(const UpstreamJob& item, uint64_t shown_read) const {
    if (known_.contains(item.id)) return true;
    if (list_.dropped != nullptr && list_.dropped->contains(item.id)) return false;
    return std::any_of(unsettled_.begin(), unsettled_.end(), [&](const record::Intent& intent) {
      return shown_read >= intent.prepared_read() && !LikenessOf(intent, item, false).none;
    });
  }

  // False if there is no room for it now.
  bool Take(Candidate candidate) {
    if (!known_.contains(candidate.job.id)) {
      if ((candidate.lost_id.empty() ? unmarked_ : marked_) >= kMostCandidates) {
        outcome_.too_many = true;
        return false;
      }
      Count(candidate);
    }
    outcome_.candidates.push_back(std::move(candidate));
    return true;
  }

  void Count(const Candidate& candidate) { ++(candidate.lost_id.empty() ? unmarked_ : marked_); }

  void JoinKnown(const Reading& reading, record::FineTuneRecord record) {
    const UpstreamJob& item = reading.job;
    const auto state = record.fine_tune().state();
    const bool was_pending = record.fine_tune().details_pending();
    switch (Join(reading, record)) {
      case Joined::kDoubtful:
        outcome_.doubtful.push_back(item.id);
        break;
      case Joined::kStale:
        outcome_.stale.push_back(item.id);
        break;
      case Joined::kFresh:
        if (record.fine_tune().details_pending() && !was_pending) {
          outcome_.pending.push_back(item.id);
        } else if (record.fine_tune().state() != state && IsTerminal(record.fine_tune().state())) {
          outcome_.incomplete.push_back(item.id);
        }
        break;
    }
    NoteMarker(item, record);
    if (!IsTerminal(record.fine_tune().state()) && !record.dormant()) {
      const auto& transitions = record.fine_tune().transitions();
      NoteWord(item.id, record.fine_tune().upstream_status(),
               transitions.empty() ? list_.time : FromProto(transitions.rbegin()->time()));
    }
    draft_.Put(std::move(record));
  }

  void NoteMarker(const UpstreamJob& item, const record::FineTuneRecord& record) {
    if (record.request_id().empty() || record.marker().empty() || !item.name) return;
    if (TraceOf(record.marker(), *item.name) != MarkerTrace::kWhole)
      outcome_.without_marker.push_back(item.id);
  }

  void NoteWord(const std::string& upstream_id, const std::string& word, absl::Time since) {
    if (!word.empty() && StateOf(word) == pb::FineTune::STATE_UNSPECIFIED)
      outcome_.unknown_words.push_back({upstream_id, word, since});
  }

  // The job of this gateway that may be this one, by its marker and by all that lists tell. Either
  // its submission was given up, or lists do not have the name that its answer gave it.
  std::optional<Lost> FindLost(const UpstreamJob& item) {
    const std::string marker = MarkerOf(item);
    if (marker.empty() || draft_.FindIntentByMarker(marker)) return std::nullopt;
    auto record = draft_.FindSubmittedByMarker(marker);
    if (!record || !IsNotListed(record->fine_tune().upstream_id())) return std::nullopt;
    record::Intent asked;
    asked.set_marker(marker);
    *asked.mutable_fine_tune() = record->fine_tune();
    if (LikenessOf(asked, item, false).contradicted) return std::nullopt;
    return Lost{IdOf(record->fine_tune().name()).value_or(""), record->fine_tune().upstream_id()};
  }

  // The submission with the job's marker that is still under way.
  std::optional<record::Intent> FindOpen(const UpstreamJob& item) {
    const std::string marker = MarkerOf(item);
    return marker.empty() ? std::nullopt : draft_.FindIntentByMarker(marker);
  }

  static std::string MarkerOf(const UpstreamJob& item) {
    return item.name ? StripMarker(*item.name).marker : "";
  }

  bool IsNotListed(const std::string& upstream_id) const {
    return upstream_id.empty() || !list_.has(upstream_id);
  }

  absl::Status SearchAll() {
    SubmissionSearch search = list_.search;
    Candidates all(absl::ZeroDuration());
    all.Add(std::move(search.candidates));
    all.Add(list_.found);
    all.Add(outcome_.candidates);
    search.candidates = all.Snapshot();
    if (outcome_.too_many || list_.too_many) search.counts_absence = false;
    // Since a candidate was found, a submission may have been answered, with this name or another.
    for (Candidate& candidate : search.candidates) {
      if (candidate.lost_id.empty()) continue;
      if (auto lost = FindLost(candidate.job)) {
        candidate.lost_id = std::move(lost->id);
        candidate.lost_upstream_id = std::move(lost->upstream_id);
      } else if (!FindOpen(candidate.job)) {
        candidate.lost_id.clear();
      }
    }
    return SearchSubmissions(search, draft_, outcome_.search);
  }

  const ListReading& list_;
  Draft& draft_;
  ListOutcome& outcome_;
  std::vector<record::Intent> unsettled_;
  absl::flat_hash_set<std::string> known_;                // Candidates from before.
  absl::flat_hash_map<std::string, int> with_marker_of_;  // How many, by Candidate::lost_id.
  size_t marked_ = 0;                                     // Candidates with a lost_id, and others.
  size_t unmarked_ = 0;
};

template <typename T>
void Append(std::vector<T> from, std::vector<T>& to) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void ListOutcome::Add(ListOutcome slice) {
  Append(std::move(slice.doubtful), doubtful);
  Append(std::move(slice.stale), stale);
  Append(std::move(slice.pending), pending);
  Append(std::move(slice.incomplete), incomplete);
  Append(std::move(slice.candidates), candidates);
  too_many = too_many || slice.too_many;
  Append(std::move(slice.hint_times), hint_times);
  Append(std::move(slice.without_marker), without_marker);
  Append(std::move(slice.unknown_words), unknown_words);
  search = std::move(slice.search);
}

absl::Status RecordList(const ListReading& reading, Draft& draft, ListOutcome& outcome) {
  outcome = ListOutcome();
  return ListRecording(reading, draft, outcome).Run();
}

}  // namespace finetune
