#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/merge.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/tracking/tracker_core.h"

namespace finetune {
namespace {

constexpr absl::Duration kDetailsDeadline = absl::Minutes(1);

// Details that were asked for by a name that jobs share may be another's.
bool IsAbout(const UpstreamJob& job, const record::FineTuneRecord& record, Draft& draft) {
  if (const auto known = FindRecordOf(draft, job))
    return known->fine_tune().name() == record.fine_tune().name();
  return absl::EqualsIgnoreCase(job.id, record.fine_tune().upstream_id());
}

}  // namespace

void Tracker::Core::AddBackfills() {
  const ViewPtr view = catalog_.view();
  for (size_t i = 0; i < view->size(); ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (version.details_known || version.upstream_id.empty() ||
        version.state == pb::FineTune::LOST || (version.active() && !version.request_id.empty())) {
      continue;
    }
    details_.Add(version.upstream_id, DetailsQueue::kBackfill, {}, version.first_revision);
  }
}

void Tracker::Core::StartDetails(absl::Time now) {
  while (auto task = details_.Take(now)) {
    const std::string name = task->upstream_id;
    AskDetails(*std::move(task), name);
  }
}

// `name`: which of the job's two names at Segmind to ask for.
void Tracker::Core::AskDetails(DetailsQueue::Task task, const std::string& name) {
  const absl::Time asked = clock_.Now();
  segmind_.GetDetails(
      name, {asked + kDetailsDeadline, task.hint.trace},
      [self = shared_from_this(), task, name, asked](absl::StatusOr<DetailsAnswer> answer) {
        auto shared = std::make_shared<absl::StatusOr<DetailsAnswer>>(std::move(answer));
        Core* core = self.get();
        core->Post([core, task, name, asked, shared] {
          core->OnDetails(task, name, asked, std::move(*shared));
          core->Pump();
        });
      });
}

void Tracker::Core::OnDetails(const DetailsQueue::Task& task, const std::string& name,
                              absl::Time asked, absl::StatusOr<DetailsAnswer> answer) {
  if (stopped_) return;
  if (absl::IsNotFound(answer.status()) && name == task.upstream_id) {
    const VersionPtr version = catalog_.FindUpstream(task.upstream_id);
    if (version != nullptr && !version->upstream_request_id.empty() &&
        version->upstream_request_id != name) {
      return AskDetails(task, version->upstream_request_id);
    }
  }
  details_.Finish(task);
  if (answer.ok()) {
    if ((task.why & DetailsQueue::kSettle) != 0) RecordCandidates(task.upstream_id, *answer);
    return RecordDetails(task, *std::move(answer));
  }
  if (absl::IsNotFound(answer.status())) return OnUnknownId(task, asked);
  Log(LogLevel::kWarning, "details could not be read",
      {{"trace_id", task.hint.trace.TraceId()},
       {"span_id", task.hint.trace.SpanId()},
       {"upstream_id", task.upstream_id},
       {"error", answer.status().ToString()}});
  // The other reasons come again with the next list.
  if ((task.why & DetailsQueue::kHint) != 0) wanted_ = std::max(wanted_, clock_.Now());
}

void Tracker::Core::RecordDetails(const DetailsQueue::Task& task, DetailsAnswer answer) {
  const bool hinted = (task.why & DetailsQueue::kHint) != 0;
  const bool confirmed = (task.why & DetailsQueue::kConfirm) != 0;
  doubtful_.erase(task.upstream_id);
  missing_.erase(task.upstream_id);
  auto shared = std::make_shared<DetailsAnswer>(std::move(answer));
  recorder_.Record(
      [id = task.upstream_id, shared, hinted, confirmed](Draft& draft) {
        auto record = draft.FindUpstream(id);
        if (!record || !IsAbout(shared->job, *record, draft)) return absl::OkStatus();
        Join({.job = shared->job,
              .start_time = shared->start_time,
              .source = hinted ? pb::StateTransition::WEBHOOK : pb::StateTransition::POLL,
              .confirmed = confirmed},
             *record);
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [self = shared_from_this(), task, hinted](absl::Status status) {
        Core* core = self.get();
        if (hinted && status.ok()) {
          core->confirm_seconds_.Observe(absl::ToDoubleSeconds(core->Now() - task.hint.time));
        }
        if (!status.ok()) {
          core->Post([core, task] {
            // To be said again: by a list, and by details for what a list cannot say.
            core->details_.Add(task.upstream_id, DetailsQueue::kBackfill);
            core->wanted_ = std::max(core->wanted_, core->clock_.Now());
            core->Pump();
          });
        }
      },
      task.hint.trace);
}

void Tracker::Core::RecordCandidates(const std::string& upstream_id, const DetailsAnswer& answer) {
  for (const Candidate& candidate : candidates_) {
    if (candidate.upstream_id != upstream_id) continue;
    auto shared = std::make_shared<DetailsAnswer>(answer);
    auto matched = std::make_shared<bool>(false);
    recorder_.Record(
        [candidate, shared, matched](Draft& draft) {
          return RecordCandidate(candidate, shared->job, shared->start_time, draft, *matched);
        },
        [self = shared_from_this(), candidate, matched](absl::Status status) {
          Core* core = self.get();
          core->Post([core, candidate, matched, status] {
            core->OnCandidateRecorded(candidate, *matched, status);
          });
        });
  }
}

void Tracker::Core::OnCandidateRecorded(const Candidate& candidate, bool matched,
                                        const absl::Status& status) {
  if (!status.ok()) return;
  if (matched) {
    TellSettled({candidate.fine_tune_id});
  } else {
    rejected_.insert(candidate);
  }
  // So that the item comes to light at once as what it is.
  wanted_ = std::max(wanted_, clock_.Now());
  Pump();
}

void Tracker::Core::OnUnknownId(const DetailsQueue::Task& task, absl::Time asked) {
  doubtful_.erase(task.upstream_id);
  const VersionPtr version = catalog_.FindUpstream(task.upstream_id);
  const bool missing = missing_.contains(task.upstream_id);
  if ((task.why & DetailsQueue::kGone) == 0 || !missing || version == nullptr) return;
  // Segmind may be slow to show what it took; the next list asks again.
  if (asked - version->create_time < options_.settle_time) return;
  RecordLost(task.upstream_id, asked);
}

void Tracker::Core::RecordLost(const std::string& upstream_id, absl::Time asked) {
  missing_.erase(upstream_id);
  if (trusted_total_ > 0) --trusted_total_;
  recorder_.Record(
      [upstream_id, asked](Draft& draft) {
        auto record = draft.FindUpstream(upstream_id);
        if (!record || FromProto(record->read_time()) > asked) return absl::OkStatus();
        MoveTo(pb::FineTune::LOST, record->fine_tune().upstream_status(), asked,
               pb::StateTransition::POLL, *record);
        record->mutable_fine_tune()->clear_inference_uri();
        *record->mutable_read_time() = ToProto(asked);
        *record->mutable_fine_tune()->mutable_observe_time() = ToProto(asked);
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [upstream_id](absl::Status status) {
        if (!status.ok()) return;  // The next look at all jobs finds it again.
        Log(LogLevel::kWarning, "Segmind no longer has a job", {{"upstream_id", upstream_id}});
      });
}

}  // namespace finetune
