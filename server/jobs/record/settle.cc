#include "server/jobs/record/settle.h"

#include <utility>

#include "server/base/error.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/intent_table.h"
#include "server/jobs/record/version.h"

namespace finetune {
namespace {

// The job as its caller asked for it, with nothing from Segmind yet.
record::FineTuneRecord RecordOf(const record::Intent& intent) {
  record::FineTuneRecord record;
  pb::FineTune& job = *record.mutable_fine_tune();
  job = intent.fine_tune();
  job.set_name(NameOf(intent.fine_tune_id()));
  job.set_creator(intent.caller());
  *job.mutable_create_time() = intent.create_time();
  record.set_marker(intent.marker());
  record.set_request_id(intent.request_id());
  if (intent.has_charge()) *record.mutable_charge() = intent.charge();
  return record;
}

std::string IdOfRecord(const record::FineTuneRecord& record) {
  return IdOf(record.fine_tune().name()).value_or("");
}

void MarkAccepted(Draft& draft, record::Intent intent, const std::string& id) {
  intent.set_fine_tune_id(id);
  intent.set_state(record::Intent::ACCEPTED);
  *intent.mutable_settle_time() = ToProto(draft.now());
  draft.PutIntent(std::move(intent));
}

// A job that was visible as one made elsewhere turns out to be this submission's. What the caller
// asked for stands, whatever Segmind made of it.
std::string TakeOver(Draft& draft, const record::Intent& intent, record::FineTuneRecord record) {
  std::string id = IdOfRecord(record);
  if (record.request_id().empty()) {
    pb::FineTune& job = *record.mutable_fine_tune();
    pb::FineTune asked = RecordOf(intent).fine_tune();
    asked.clear_name();
    if (job.visibility() != pb::FineTune::VISIBILITY_UNSPECIFIED) asked.clear_visibility();
    if (asked.has_parameters()) job.clear_parameters();
    job.MergeFrom(asked);
    record.set_marker(intent.marker());
    record.set_request_id(intent.request_id());
    if (intent.has_charge()) *record.mutable_charge() = intent.charge();
    draft.Put(std::move(record));
  }
  MarkAccepted(draft, intent, id);
  return id;
}

// Whether the record may be the job that this submission made, as far as the record itself tells.
bool MayBeOf(const record::Intent& intent, const record::FineTuneRecord& record) {
  if (!record.request_id().empty())
    return record.request_id() == intent.request_id() &&
           record.fine_tune().creator() == intent.caller();
  return record.shown_read() >= intent.prepared_read();
}

// The submission's own job was shown to callers first, so the other one goes.
void Retire(Draft& draft, record::FineTuneRecord other) {
  other.mutable_fine_tune()->clear_upstream_id();
  other.clear_upstream_request_id();
  MoveTo(pb::FineTune::LOST, other.fine_tune().upstream_status(), draft.now(),
         pb::StateTransition::RECONCILE, other);
  draft.Put(std::move(other));
}

}  // namespace

std::optional<record::FineTuneRecord> FindRecordOf(Draft& draft, const UpstreamJob& job) {
  auto record = draft.FindUpstream(job.id);
  if (record && (record->fine_tune().upstream_id() == job.id || job.request_id.empty()))
    return record;
  record = draft.FindUpstream(job.request_id);
  if (record && record->fine_tune().upstream_id() == job.request_id &&
      record->upstream_request_id().empty())
    return record;
  return std::nullopt;
}

void ShowUnknown(Draft& draft, const record::Intent& intent) {
  if (draft.Find(intent.fine_tune_id())) return;
  record::FineTuneRecord record = RecordOf(intent);
  MoveTo(pb::FineTune::SUBMIT_UNKNOWN, "", draft.now(), pb::StateTransition::SUBMIT, record);
  draft.Put(std::move(record));
}

void BecomeUnknown(Draft& draft, record::Intent intent, std::string_view why, uint64_t read) {
  ShowUnknown(draft, intent);
  intent.set_unknown_cause(std::string(why));
  intent.set_state(record::Intent::UNKNOWN);
  *intent.mutable_unknown_time() = ToProto(draft.now());
  intent.set_unknown_read(read);
  draft.PutIntent(std::move(intent));
}

bool AcceptLost(Draft& draft, record::Intent& intent) {
  auto record = draft.FindForeignByMarker(intent.marker());
  if (!record) return false;
  const pb::FineTune& seen = record->fine_tune();
  const pb::FineTune& wanted = intent.fine_tune();
  const auto differs = [](const std::string& a, const std::string& b) {
    return !a.empty() && !b.empty() && a != b;
  };
  if (differs(seen.instance_prompt(), wanted.instance_prompt()) ||
      differs(seen.data_source_uri(), wanted.data_source_uri()) ||
      differs(seen.base_model(), wanted.base_model()))
    return false;
  const std::string id = TakeOver(draft, intent, *std::move(record));
  intent.set_fine_tune_id(id);
  intent.set_state(record::Intent::ACCEPTED);
  return true;
}

std::optional<std::string> Accept(Draft& draft, record::Intent intent, const Reading& reading) {
  const std::string id = intent.fine_tune_id();
  std::optional<record::FineTuneRecord> record = draft.Find(id);
  auto other = FindRecordOf(draft, reading.job);
  if (other && IdOfRecord(*other) != id) {
    if (!MayBeOf(intent, *other)) return std::nullopt;
    if (!record) return TakeOver(draft, intent, *std::move(other));
    Retire(draft, *std::move(other));
  }
  // The answer names the job differently than lists do, and lists have made it visible.
  const bool answered = reading.source == pb::StateTransition::SUBMIT;
  if (answered && !other && !record && AcceptLost(draft, intent)) return intent.fine_tune_id();
  const bool known_already = record && !record->fine_tune().upstream_id().empty();
  if (!record) record = RecordOf(intent);
  // A list that showed the job saw it later than the submission's answer does, however early it
  // began; and lists do not repeat what has not changed.
  if (known_already) {
    record::FineTuneRecord joined = *record;
    Join({.job = reading.job, .read = 0, .time = reading.time, .source = reading.source}, joined);
    record = std::move(joined);
  } else {
    Join(reading, *record);
    const auto state = record->fine_tune().state();
    if (state == pb::FineTune::STATE_UNSPECIFIED || state == pb::FineTune::SUBMIT_UNKNOWN ||
        WasNotSubmitted(record->fine_tune())) {
      record->mutable_fine_tune()->clear_failure();
      MoveTo(pb::FineTune::QUEUED, reading.job.status, reading.time, reading.source, *record);
    }
  }
  draft.Put(*std::move(record));
  MarkAccepted(draft, std::move(intent), id);
  return id;
}

absl::Status Reinstate(Draft& draft, record::FineTuneRecord record, const Reading& reading) {
  const std::string id = IdOfRecord(record);
  auto intent = draft.FindIntent(record.fine_tune().creator(), record.request_id());
  if (!intent.ok()) return intent.status();
  if (intent->has_value() && (*intent)->fine_tune_id() == id)
    MarkAccepted(draft, **std::move(intent), id);
  pb::FineTune& job = *record.mutable_fine_tune();
  record.set_upstream_request_id(job.upstream_id());
  job.set_upstream_id(reading.job.id);
  Join(reading, record);
  draft.Put(std::move(record));
  return absl::OkStatus();
}

void Abandon(Draft& draft, record::Intent intent, const absl::Status& why,
             pb::StateTransition::Source source) {
  auto record = draft.Find(intent.fine_tune_id());
  if (!record) {
    const auto [caller, request_id] = IntentTable::KeyOf(intent);
    intent.set_refusal(EncodeStatus(why));
    intent.set_state(record::Intent::REFUSED);
    draft.PutIntent(std::move(intent));
    draft.DeleteIntent(caller, request_id);
    return;
  }
  pb::Failure& failure = *record->mutable_fine_tune()->mutable_failure();
  failure.set_reason(pb::Failure::NOT_SUBMITTED);
  failure.set_message(std::string(why.message()));
  MoveTo(pb::FineTune::FAILED, "", draft.now(), source, *record);
  draft.Put(*std::move(record));
  intent.set_state(record::Intent::NOT_SUBMITTED);
  *intent.mutable_settle_time() = ToProto(draft.now());
  draft.PutIntent(std::move(intent));
}

}  // namespace finetune
