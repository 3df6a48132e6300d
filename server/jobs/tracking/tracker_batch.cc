#include "server/jobs/tracking/tracker_batch.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/merge.h"
#include "server/jobs/record/settle.h"

namespace finetune {
namespace {

// How far Segmind's clock may be behind ours before a submission's job looks older than it.
constexpr absl::Duration kClockSkew = absl::Seconds(30);

// One run of RecordList.
class Run {
 public:
  Run(const ListBatch& batch, const Catalog& catalog, Draft& draft, ListOutcome& outcome)
      : batch_(batch), catalog_(catalog), draft_(draft), outcome_(outcome) {}

  absl::Status Record() {
    unmarked_ = draft_.UnsettledIntents();
    unmarked_.erase(std::remove_if(unmarked_.begin(), unmarked_.end(),
                                   [](const auto& intent) { return !intent.marker().empty(); }),
                    unmarked_.end());
    std::sort(unmarked_.begin(), unmarked_.end(), [](const auto& a, const auto& b) {
      return FromProto(a.create_time()) < FromProto(b.create_time());
    });
    for (const UpstreamJob& item : batch_.items) RETURN_IF_ERROR(RecordItem(item));
    CountAbsence();
    return absl::OkStatus();
  }

 private:
  Reading ReadingOf(const UpstreamJob& item) {
    Reading reading{.job = item, .start_time = batch_.start_time};
    for (const std::string* name : {&item.id, &item.request_id}) {
      auto hint = batch_.hinted.find(*name);
      if (name->empty() || hint == batch_.hinted.end()) continue;
      reading.source = pb::StateTransition::WEBHOOK;
      outcome_.hint_times.push_back(hint->second);
    }
    return reading;
  }

  absl::Status RecordItem(const UpstreamJob& item) {
    const Reading reading = ReadingOf(item);
    auto record = FindRecordOf(draft_, item);
    if (!record) {
      record = FindByMarker(item);
      if (record) RETURN_IF_ERROR(Reinstate(draft_, *record));
    }
    if (record) {
      JoinKnown(reading, *std::move(record));
    } else if (const auto intent = FindIntent(item)) {
      Reading found = reading;
      if (intent->state() == record::Intent::UNKNOWN) {
        found.source = pb::StateTransition::RECONCILE;
      }
      outcome_.settled.push_back(Accept(draft_, *intent, found));
      outcome_.incomplete.push_back(item.id);
    } else if (!HoldBack(item)) {
      RecordForeign(reading);
    }
    return absl::OkStatus();
  }

  void RecordForeign(const Reading& reading) {
    const UpstreamJob& item = reading.job;
    std::string id = ForeignId(item.id);
    if (draft_.Find(id)) id = DerivedId(item.id);
    if (draft_.Find(id)) return;  // The name of a job that lost its id at Segmind to another.
    draft_.Put(ForeignRecord(id, reading));
    outcome_.incomplete.push_back(item.id);
  }

  void JoinKnown(const Reading& reading, record::FineTuneRecord record) {
    const UpstreamJob& item = reading.job;
    const auto state = record.fine_tune().state();
    switch (Join(reading, record)) {
      case Joined::kDoubtful:
        outcome_.doubtful.push_back(item.id);
        break;
      case Joined::kStale:
        outcome_.stale.push_back(item.id);
        break;
      case Joined::kFresh:
        if (record.fine_tune().state() != state && IsTerminal(record.fine_tune().state())) {
          outcome_.incomplete.push_back(item.id);
        }
        break;
    }
    draft_.Put(std::move(record));
  }

  std::optional<record::Intent> FindIntent(const UpstreamJob& item) {
    if (!item.name) return std::nullopt;
    const std::string marker = StripMarker(*item.name).marker;
    if (marker.empty()) return std::nullopt;
    return draft_.FindIntentByMarker(marker);
  }

  // A submission that was given up, or whose request_id went on to another attempt, and that
  // Segmind has after all; or one whose answer called the job otherwise than lists do.
  std::optional<record::FineTuneRecord> FindByMarker(const UpstreamJob& item) {
    if (!item.name) return std::nullopt;
    const std::string marker = StripMarker(*item.name).marker;
    if (marker.empty() || draft_.FindIntentByMarker(marker)) return std::nullopt;
    if (!not_listed_) {
      not_listed_.emplace();
      const ViewPtr view = catalog_.view();
      for (size_t i = 0; i < view->size(); ++i) {
        const FineTuneVersion& version = *view->at(i);
        if (!version.marker.empty() && IsNotListed(version.upstream_id))
          not_listed_->emplace(version.marker, version.id);
      }
    }
    auto found = not_listed_->find(marker);
    if (found == not_listed_->end()) return std::nullopt;
    auto record = draft_.Find(found->second);
    if (!record || !IsNotListed(record->fine_tune().upstream_id())) return std::nullopt;
    record->set_upstream_request_id(record->fine_tune().upstream_id());
    record->mutable_fine_tune()->set_upstream_id(item.id);
    return record;
  }

  bool IsNotListed(const std::string& upstream_id) const {
    return upstream_id.empty() || !batch_.has(upstream_id);
  }

  // Without markers: whether the item may be a submission's.
  bool HoldBack(const UpstreamJob& item) {
    const auto seen = batch_.held_since.find(item.id);
    const absl::Time since = seen == batch_.held_since.end() ? draft_.now() : seen->second;
    bool held = false;
    bool awaited = false;
    std::optional<Candidate> candidate;
    for (const record::Intent& intent : unmarked_) {
      const pb::FineTune& wanted = intent.fine_tune();
      if (item.name != wanted.display_name() || item.data_source_path != wanted.data_source_uri()) {
        continue;
      }
      Candidate possible{item.id, intent.fine_tune_id()};
      if (batch_.rejected.contains(possible)) continue;
      held = true;
      if (intent.state() != record::Intent::UNKNOWN) {
        // One that began after the item was there did not make it.
        awaited = awaited || FromProto(intent.create_time()) <= since;
      } else if (!candidate) {
        present_.insert(intent.fine_tune_id());
        candidate = std::move(possible);
      }
    }
    if (!held) return false;
    outcome_.held.push_back(item);
    outcome_.held_since.emplace(item.id, since);
    // Two submissions may ask for the same: an answer that is still to come may be about this item.
    if (candidate && !awaited) outcome_.candidates.push_back(*std::move(candidate));
    return true;
  }

  void CountAbsence() {
    for (record::Intent& intent : draft_.UnsettledIntents()) {
      ++outcome_.unsettled;
      // A PREPARED one's answer is still awaited.
      if (intent.state() != record::Intent::UNKNOWN || !batch_.counts_absence) continue;
      const absl::Time since = FromProto(intent.unknown_time());
      if (batch_.start_time <= since || present_.contains(intent.fine_tune_id())) continue;
      intent.set_lists_without(intent.lists_without() + 1);
      if (intent.lists_without() < batch_.settle_lists ||
          batch_.start_time - since < batch_.settle_time) {
        draft_.PutIntent(std::move(intent));
        continue;
      }
      --outcome_.unsettled;
      outcome_.settled.push_back(intent.fine_tune_id());
      std::string message = "Segmind does not have the submission";
      if (!intent.unknown_cause().empty()) absl::StrAppend(&message, ": ", intent.unknown_cause());
      Abandon(draft_, std::move(intent), message, pb::StateTransition::RECONCILE);
    }
  }

  const ListBatch& batch_;
  const Catalog& catalog_;
  Draft& draft_;
  ListOutcome& outcome_;
  // Unsettled submissions without a marker, oldest first.
  std::vector<record::Intent> unmarked_;
  // Those of them that an item was held back for.
  absl::flat_hash_set<std::string> present_;
  // By marker; made when it is first needed, for it looks at every job.
  std::optional<absl::flat_hash_map<std::string, std::string>> not_listed_;
};

}  // namespace

absl::Status RecordList(const ListBatch& batch, const Catalog& catalog, Draft& draft,
                        ListOutcome& outcome) {
  outcome = ListOutcome();
  return Run(batch, catalog, draft, outcome).Record();
}

absl::Status RecordCandidate(const Candidate& candidate, const UpstreamJob& job,
                             absl::Time start_time, Draft& draft, bool& matched) {
  matched = false;
  // Somebody's already: the next list joins it there.
  if (draft.FindUpstream(job.id)) return absl::OkStatus();
  for (record::Intent& intent : draft.UnsettledIntents()) {
    if (intent.fine_tune_id() != candidate.fine_tune_id) continue;
    const bool same_prompt = job.instance_prompt == intent.fine_tune().instance_prompt();
    const bool made_since =
        !job.created || *job.created >= FromProto(intent.create_time()) - kClockSkew;
    if (!same_prompt || !made_since) return absl::OkStatus();
    Accept(draft, std::move(intent),
           {.job = job, .start_time = start_time, .source = pb::StateTransition::RECONCILE});
    matched = true;
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace finetune
