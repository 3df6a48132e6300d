#include "server/jobs/tracking/submission_search.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/tracking/likeness.h"

namespace finetune {
namespace {

// One run of SearchSubmissions.
class Search {
 public:
  Search(const SubmissionSearch& search, Draft& draft, SearchResult& result)
      : search_(search), draft_(draft), result_(result) {}

  absl::Status Run() {
    intents_ = draft_.UnsettledIntents();
    std::stable_sort(intents_.begin(), intents_.end(), [](const auto& a, const auto& b) {
      return a.prepared_read() < b.prepared_read();
    });
    is_open_.assign(intents_.size(), true);
    for (const record::Intent& intent : intents_) is_uncompared_.push_back(IsUncompared(intent));
    is_overdue_.assign(intents_.size(), false);
    is_free_.assign(search_.candidates.size(), true);
    waits_for_details_.assign(search_.candidates.size(), false);
    Compare();
    AdoptMarked();
    RETURN_IF_ERROR(AdoptLost());
    AdoptUnmarked();
    if (FindOverdue()) {
      AdoptMarked();
      AdoptUnmarked();
    }
    for (size_t c = 0; c < search_.candidates.size(); ++c) Judge(c);
    for (size_t i = 0; i < intents_.size(); ++i)
      if (is_open_[i]) Leave(i);
    return absl::OkStatus();
  }

 private:
  const Candidate& candidate(size_t c) const { return search_.candidates[c]; }
  // Whether a job that has long been shown may be it.
  bool IsUncompared(const record::Intent& intent) const {
    return intent.brought_back() &&
           (search_.compared == nullptr || !search_.compared->contains(intent.fine_tune_id()));
  }
  // Whether it may be decided what has become of it.
  bool IsToDecide(size_t i) const { return is_open_[i] && !is_uncompared_[i]; }
  bool IsUnknown(size_t i) const { return intents_[i].state() == record::Intent::UNKNOWN; }
  const Likeness& At(size_t i, size_t c) const {
    return likeness_[i * search_.candidates.size() + c];
  }
  bool MayBe(size_t i, size_t c) const { return is_free_[c] && !At(i, c).none; }
  bool IsClear(size_t i, size_t c) const {
    const bool clear = At(i, c).clear || (is_overdue_[i] && At(i, c).clear_but_for_time);
    return is_free_[c] && clear;
  }

  void Compare() {
    for (const record::Intent& intent : intents_) {
      for (const Candidate& candidate : search_.candidates) {
        Likeness likeness = LikenessOf(intent, candidate.job, candidate.details_read);
        // The job was there before this submission.
        if (candidate.shown_read < intent.prepared_read()) {
          likeness.none = true;
          likeness.clear = false;
        }
        likeness_.push_back(likeness);
      }
    }
    for (size_t c = 0; c < search_.candidates.size(); ++c) {
      const auto record = FindRecordOf(draft_, candidate(c).job);
      // The job is somebody's already, and lists are joined to it there.
      if (record && !record->request_id().empty()) is_free_[c] = false;
    }
  }

  // A job with the whole marker is this submission's, or a later copy of it that somebody made at
  // Segmind.
  void AdoptMarked() {
    for (size_t i = 0; i < intents_.size(); ++i) {
      if (!IsToDecide(i)) continue;
      std::vector<size_t> marked;
      for (size_t c = 0; c < search_.candidates.size(); ++c)
        if (IsClear(i, c) && At(i, c).marker == MarkerTrace::kWhole) marked.push_back(c);
      if (marked.empty() || IsUnread(i, MarkerTrace::kWhole)) continue;
      Adopt(i, *std::min_element(marked.begin(), marked.end(), [this](size_t a, size_t b) {
              return IsOlder(candidate(a), candidate(b));
            }));
    }
  }

  // Finds jobs of submissions that were given up, or whose request_id went on to another attempt,
  // and that Segmind has after all; and of submissions whose answer named the job differently than
  // lists do. All jobs with the marker are looked into first, because a job may have been cloned
  // together with its name.
  absl::Status AdoptLost() {
    std::map<std::string, std::vector<size_t>> by_job;
    for (size_t c = 0; c < search_.candidates.size(); ++c)
      if (is_free_[c] && IsLost(candidate(c))) by_job[candidate(c).lost_id].push_back(c);
    for (const auto& [id, marked] : by_job) {
      const bool unread = std::any_of(marked.begin(), marked.end(),
                                      [&](size_t c) { return !candidate(c).details_read; });
      for (size_t c : marked) waits_for_details_[c] = unread;
      if (!unread) RETURN_IF_ERROR(AdoptFirstOf(id, marked));
    }
    return absl::OkStatus();
  }

  bool IsLost(const Candidate& candidate) const {
    const std::string& id = candidate.lost_id;
    // While its submission is open, the intent is what is searched for.
    const bool open = std::any_of(intents_.begin(), intents_.end(),
                                  [&](const auto& intent) { return intent.fine_tune_id() == id; });
    if (id.empty() || open) return false;
    const auto record = draft_.Find(id);
    return record && record->fine_tune().upstream_id() == candidate.lost_upstream_id;
  }

  // Whether the submission with the job's marker was answered with another name since the job was
  // found.
  bool IsAnsweredOtherwise(size_t c) const {
    if (!is_free_[c] || candidate(c).lost_id.empty()) return false;
    const auto record = draft_.Find(candidate(c).lost_id);
    return record && record->fine_tune().upstream_id() != candidate(c).lost_upstream_id;
  }

  absl::Status AdoptFirstOf(const std::string& id, const std::vector<size_t>& marked) {
    const auto record = draft_.Find(id);
    record::Intent asked;
    asked.set_marker(record->marker());
    *asked.mutable_fine_tune() = record->fine_tune();
    std::optional<size_t> found;
    for (size_t c : marked) {
      if (!LikenessOf(asked, candidate(c).job, /*details_read=*/true).clear)
        result_.unlike.push_back({id, candidate(c).job.id});
      else if (!found || IsOlder(candidate(c), candidate(*found)))
        found = c;
    }
    if (!found) return absl::OkStatus();
    RETURN_IF_ERROR(Reinstate(draft_, *record, ReadingOf(*found, pb::StateTransition::RECONCILE)));
    is_free_[*found] = false;
    result_.settled.push_back(id);
    result_.adopted.push_back(candidate(*found).job.id);
    return absl::OkStatus();
  }

  static bool IsOlder(const Candidate& a, const Candidate& b) {
    if (a.job.created && b.job.created && *a.job.created != *b.job.created)
      return *a.job.created < *b.job.created;
    return a.shown_read < b.shown_read;
  }

  // Without a marker, no more jobs may fit than there are equal submissions, and they may not fit
  // another submission, nor one whose answer is awaited. Submissions of one caller that ask for the
  // same are equal.
  void AdoptUnmarked() {
    for (size_t i = 0; i < intents_.size(); ++i) {
      if (!IsToDecide(i) || !IsUnknown(i)) continue;
      std::vector<size_t> jobs;
      for (size_t c = 0; c < search_.candidates.size(); ++c)
        if (IsClear(i, c)) jobs.push_back(c);
      if (jobs.empty() || IsUnread(i) || HasBetter(i) || jobs.size() > CountEquals(i)) continue;
      const bool contested =
          std::any_of(jobs.begin(), jobs.end(), [&](size_t c) { return IsContested(i, c); });
      if (!contested)
        Adopt(i, *std::min_element(jobs.begin(), jobs.end(), [this](size_t a, size_t b) {
                return IsOlder(candidate(a), candidate(b));
              }));
    }
  }

  // Notes submissions that have been missing for long enough to be given up, if it were not for
  // jobs that only their time sets apart: that was another clock's, then. False if there are none.
  bool FindOverdue() {
    bool found = false;
    for (size_t i = 0; i < intents_.size(); ++i) {
      if (!IsToDecide(i) || !IsUnknown(i) || !HasTimeless(i) || IsUnread(i)) continue;
      is_overdue_[i] = IsMissingLongEnough(i);
      found = found || is_overdue_[i];
    }
    return found;
  }
  bool IsTimeless(size_t i, size_t c) const { return is_free_[c] && At(i, c).clear_but_for_time; }
  bool HasTimeless(size_t i) const {
    for (size_t c = 0; c < search_.candidates.size(); ++c)
      if (IsTimeless(i, c)) return true;
    return false;
  }

  // Whether there is a job that may be this submission's, has that much of its marker, and was not
  // looked into yet.
  bool IsUnread(size_t i, std::optional<MarkerTrace> marker = std::nullopt) const {
    for (size_t c = 0; c < search_.candidates.size(); ++c)
      if (MayBe(i, c) && !candidate(c).details_read && (!marker || At(i, c).marker == *marker))
        return true;
    return false;
  }

  // Whether another job that may be this submission's carries its marker, though something speaks
  // against it.
  bool HasBetter(size_t i) const {
    for (size_t c = 0; c < search_.candidates.size(); ++c) {
      const MarkerTrace marker = At(i, c).marker;
      if (MayBe(i, c) && !IsClear(i, c) &&
          (marker == MarkerTrace::kWhole || marker == MarkerTrace::kPart))
        return true;
    }
    return false;
  }

  static bool AreEqual(const record::Intent& a, const record::Intent& b) {
    return a.caller() == b.caller() && a.fingerprint() == b.fingerprint();
  }
  size_t CountEquals(size_t i) const {
    size_t count = 0;
    for (size_t other = 0; other < intents_.size(); ++other)
      if (is_open_[other] && IsUnknown(other) && AreEqual(intents_[i], intents_[other])) ++count;
    return count;
  }
  // Whether the job may as well belong to a submission that cannot stand in for this one, or to one
  // whose answer is still to come.
  bool IsContested(size_t i, size_t c) const {
    for (size_t other = 0; other < intents_.size(); ++other) {
      if (other == i || !is_open_[other] || !MayBe(other, c)) continue;
      if (!IsUnknown(other) || !AreEqual(intents_[i], intents_[other])) return true;
    }
    return false;
  }

  void Adopt(size_t i, size_t c) {
    const Candidate& found = candidate(c);
    const auto source = IsUnknown(i) ? pb::StateTransition::RECONCILE : found.source;
    const auto id = Accept(draft_, intents_[i], ReadingOf(c, source));
    if (!id) return;
    is_open_[i] = false;
    is_free_[c] = false;
    result_.absences.erase(intents_[i].fine_tune_id());
    result_.settled.push_back(*id);
    result_.adopted.push_back(found.job.id);
  }

  void Judge(size_t c) {
    const std::string& id = candidate(c).job.id;
    if (std::find(result_.adopted.begin(), result_.adopted.end(), id) != result_.adopted.end())
      return;
    bool may_be_one = false;
    bool awaited = false;
    for (size_t i = 0; i < intents_.size(); ++i) {
      if (!is_open_[i] || !MayBe(i, c)) continue;
      may_be_one = true;
      // Something that is not known yet decides: an answer, the details of another job, or more
      // lists.
      awaited = awaited || !IsUnknown(i) || is_uncompared_[i] || IsUnread(i) || IsWaitedFor(i, c);
    }
    if (waits_for_details_[c]) may_be_one = awaited = true;
    // Only a list shows whether that job is another one.
    if (IsAnsweredOtherwise(c) && search_.list_read == 0) may_be_one = awaited = true;
    if (may_be_one && !candidate(c).details_read) {
      if (!candidate(c).details_put_off) result_.wanted.push_back(id);
    } else if (!awaited) {
      if (!may_be_one) result_.dropped.push_back(id);
      RecordForeign(ReadingOf(c, candidate(c).source), draft_);
    }
  }

  Reading ReadingOf(size_t c, pb::StateTransition::Source source) const {
    const Candidate& from = candidate(c);
    return {.job = from.job,
            .read = from.read,
            .ended = from.shown_read,
            .time = from.time,
            .source = source};
  }

  // Decides about a submission that was not found: it is still open, it may be one of the
  // candidates, or it is absent.
  void Leave(size_t i) {
    ++result_.unsettled;
    if (is_uncompared_[i]) result_.uncompared.push_back(intents_[i].fine_tune_id());
    if (!IsUnknown(i) || is_uncompared_[i]) return;
    SearchResult::Undecided undecided{.intent = intents_[i], .upstream_ids = {}};
    bool waits = false;
    for (size_t c = 0; c < search_.candidates.size(); ++c) {
      if (!MayBe(i, c)) continue;
      undecided.upstream_ids.push_back(candidate(c).job.id);
      waits = waits || !candidate(c).details_read || IsAwaited(c) || IsWaitedFor(i, c);
    }
    if (!undecided.upstream_ids.empty()) {
      if (!waits) result_.undecided.push_back(std::move(undecided));
    } else if (IsMissingLongEnough(i)) {
      GiveUp(i);
    }
  }

  // More lists will tell whether it is this submission's.
  bool IsWaitedFor(size_t i, size_t c) const { return IsTimeless(i, c) && !is_overdue_[i]; }

  // Counts one more list without what is surely this submission's.
  bool IsMissingLongEnough(size_t i) {
    const record::Intent& intent = intents_[i];
    const auto known = search_.absences.find(intent.fine_tune_id());
    Absence absence = known == search_.absences.end() ? Absence() : known->second;
    const bool counts = search_.counts_absence && search_.list_read > intent.unknown_read();
    if (counts && absence.lists++ == 0) absence.since = search_.list_time;
    if (absence.lists > 0) result_.absences.emplace(intent.fine_tune_id(), absence);
    return counts && absence.lists >= search_.settle_lists &&
           search_.list_time - absence.since >= search_.settle_time;
  }

  bool IsAwaited(size_t c) const {
    for (size_t i = 0; i < intents_.size(); ++i)
      if (is_open_[i] && !IsUnknown(i) && MayBe(i, c)) return true;
    return false;
  }

  void GiveUp(size_t i) {
    record::Intent& intent = intents_[i];
    --result_.unsettled;
    result_.absences.erase(intent.fine_tune_id());
    result_.settled.push_back(intent.fine_tune_id());
    std::string message = "Segmind does not have the submission";
    if (!intent.unknown_cause().empty()) absl::StrAppend(&message, ": ", intent.unknown_cause());
    Abandon(draft_, std::move(intent), absl::NotFoundError(message),
            pb::StateTransition::RECONCILE);
  }

  const SubmissionSearch& search_;
  Draft& draft_;
  SearchResult& result_;
  std::vector<record::Intent> intents_;  // In the order in which they were submitted.
  std::vector<Likeness> likeness_;       // Of each intent to each candidate.
  std::vector<bool> is_open_;            // By intent: not settled in this run.
  std::vector<bool> is_uncompared_;      // By intent: see IsUncompared.
  std::vector<bool> is_overdue_;         // By intent: see FindOverdue.
  std::vector<bool> is_free_;            // By candidate: nobody's.
  // By candidate: whether it may be a job that was given up, which its details or another's will
  // show.
  std::vector<bool> waits_for_details_;
};

}  // namespace

absl::Status SearchSubmissions(const SubmissionSearch& search, Draft& draft, SearchResult& result) {
  result = SearchResult();
  return Search(search, draft, result).Run();
}

void RecordForeign(const Reading& reading, Draft& draft) {
  const UpstreamJob& job = reading.job;
  if (FindRecordOf(draft, job)) return;
  std::string id = ForeignId(job.id);
  if (draft.Find(id)) id = DerivedId(job.id);
  if (draft.Find(id)) return;  // The name of a job that lost its id at Segmind to another.
  draft.Put(ForeignRecord(id, reading));
}

}  // namespace finetune
