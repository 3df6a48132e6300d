#include "server/jobs/record/merge.h"

#include <algorithm>
#include <optional>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/base/micros.h"
#include "server/base/sha256.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/version.h"
#include "server/segmind/job_fields.h"

namespace finetune {
namespace {

constexpr int kMaxTransitions = 100;

// The base of the models' inference URLs. Segmind documents the slug as the model's name in them;
// the path is that of its other models.
constexpr std::string_view kInferencePrefix = "https://api.segmind.com/v1/";

// Takes the text; with `keep`, only if there is none yet.
void Take(const std::string& from, bool keep, std::string* to) {
  if (!from.empty() && !(keep && !to->empty())) *to = from;
}

// Takes one field of JobFields() where `from` has it; `keep` as in Take.
struct FieldJoin {
  const pb::FineTune& from;
  bool keep;
  pb::FineTune& to;

  void operator()(const TextMember& member) const {
    if (!(from.*member.get)().empty()) Take((from.*member.get)(), keep, (to.*member.edit)());
  }
  template <typename T>
  void operator()(const ScalarMember<T>& member) const {
    const T value = (from.*member.get)();
    if (value != T() && !(keep && (to.*member.get)() != T())) (to.*member.set)(value);
  }
};

// Takes all fields of JobFields(): input with `keep_input` as in Take, the others with `keep_rest`.
void TakeFields(const pb::FineTune& from, bool keep_input, bool keep_rest, pb::FineTune& to) {
  for (const JobField& row : JobFields())
    std::visit(FieldJoin{from, row.input ? keep_input : keep_rest, to}, row.member);
}

bool HasEnded(const pb::FineTune& job) {
  return IsTerminal(job.state()) && job.state() != pb::FineTune::LOST && !WasNotSubmitted(job);
}

// The state of a job for which Segmind has a word that is not known.
pb::FineTune::State StateUnderUnknownWord(const pb::FineTune& job) {
  // The job is at Segmind, which is what QUEUED says.
  if (job.state() == pb::FineTune::SUBMIT_UNKNOWN || WasNotSubmitted(job)) {
    return pb::FineTune::QUEUED;
  }
  if (job.state() != pb::FineTune::LOST) return job.state();
  for (int i = job.transitions_size() - 1; i >= 0; --i) {
    const auto state = job.transitions(i).state();
    if (state != pb::FineTune::LOST && state != pb::FineTune::SUBMIT_UNKNOWN) return state;
  }
  return pb::FineTune::STATE_UNSPECIFIED;
}

bool IsRepresentable(absl::Time time) {
  return time > absl::UnixEpoch() && time < absl::FromUnixSeconds(253'402'300'800);
}

// With `keep`, what a caller of this gateway asked for stays as it was.
void JoinRequest(const UpstreamJob& job, bool keep, record::FineTuneRecord& record) {
  pb::FineTune& to = *record.mutable_fine_tune();
  if (job.name) {
    MarkedName name = StripMarker(*job.name);
    if (record.marker().empty()) record.set_marker(name.marker);
    Take(name.display_name, keep, to.mutable_display_name());
  }
  if (job.parameters && !(keep && to.has_parameters())) *to.mutable_parameters() = *job.parameters;
  const bool has_create_time = to.has_create_time() && !to.create_time_estimated();
  if (job.created && IsRepresentable(*job.created) && !(keep && has_create_time)) {
    *to.mutable_create_time() = ToProto(*job.created);
    to.set_create_time_estimated(false);
  }
}

void JoinResults(const UpstreamJob& job, bool keep, pb::FineTune& to) {
  if (job.model_information && !(keep && to.has_model_information())) {
    *to.mutable_model_information() = *job.model_information;
  }
  if (job.is_public && !(keep && to.visibility() != pb::FineTune::VISIBILITY_UNSPECIFIED)) {
    to.set_visibility(*job.is_public ? pb::FineTune::PUBLIC : pb::FineTune::PRIVATE);
  }
  if (job.billed_micros && !(keep && to.has_billed_cost())) {
    to.mutable_billed_cost()->set_unit(kCredits);
    to.mutable_billed_cost()->set_micros(*job.billed_micros);
  }
  if (HasWeights(to.state()))
    Take(job.cloud_storage_url.value_or(""), keep, to.mutable_weights_uri());
}

void JoinState(const Reading& reading, record::FineTuneRecord& record) {
  const UpstreamJob& job = reading.job;
  pb::FineTune& to = *record.mutable_fine_tune();
  if (job.status.empty()) return;
  pb::FineTune::State state = StateOf(job.status);
  if (state == pb::FineTune::STATE_UNSPECIFIED) state = StateUnderUnknownWord(to);
  MoveTo(state, job.status, reading.time, reading.source, record);
  const std::string message = job.error_message.value_or("");
  const bool may_say_why = state == pb::FineTune::CANCELLED || HasUnknownWord(to);
  if (state != pb::FineTune::FAILED && !(may_say_why && !message.empty())) {
    to.clear_failure();
    return;
  }
  if (to.has_failure() && !WasNotSubmitted(to) && message.empty()) return;
  to.mutable_failure()->set_reason(FailureReasonOf(message));
  to.mutable_failure()->set_message(message);
}

// Sets the fields that follow from others.
void Derive(pb::FineTune& to) {
  if (to.state() == pb::FineTune::AVAILABLE && !to.slug().empty()) {
    to.set_inference_uri(std::string(kInferencePrefix) + to.slug());
  } else {
    to.clear_inference_uri();
  }
}

// Whether the details that come with the state are still to be read.
bool IsPending(const record::FineTuneRecord& record) {
  const pb::FineTune& job = record.fine_tune();
  if (record.details_known()) return false;
  return (HasWeights(job.state()) && job.weights_uri().empty()) ||
         (job.state() == pb::FineTune::AVAILABLE && job.inference_uri().empty());
}

void JoinIds(const UpstreamJob& job, record::FineTuneRecord& record) {
  pb::FineTune& to = *record.mutable_fine_tune();
  if (to.upstream_id().empty()) {
    to.set_upstream_id(job.id);
  } else if (to.upstream_id() == job.request_id) {
    // The answer to the submit had one name only, the request's; `job.id` is the finetune_id.
    record.set_upstream_request_id(to.upstream_id());
    to.set_upstream_id(job.id);
  }
  if (to.upstream_id() == job.id && !job.request_id.empty()) {
    record.set_upstream_request_id(job.request_id);
  }
}

// Sets the times of milestones that the gateway saw happen; others have none. `job` is still in its
// old state.
void NoteMilestones(pb::FineTune::State state, absl::Time time, pb::FineTune& job) {
  const bool saw_it_happen = job.transitions_size() > 0 && !IsTerminal(job.state());
  if (state == pb::FineTune::TRAINING && saw_it_happen && !job.has_training_start_time())
    *job.mutable_training_start_time() = ToProto(time);
  if (!IsTerminal(state)) {
    job.clear_end_time();
  } else if (saw_it_happen && !job.has_end_time()) {
    *job.mutable_end_time() = ToProto(time);
  }
}

bool IsDoubtful(const Reading& reading, const pb::FineTune& job) {
  if (reading.confirmed || reading.job.status.empty() || !HasEnded(job)) return false;
  const auto state = StateOf(reading.job.status);
  return state != pb::FineTune::STATE_UNSPECIFIED && state != job.state();
}

}  // namespace

bool HasWeights(pb::FineTune::State state) {
  return state == pb::FineTune::TRAINED || state == pb::FineTune::DEPLOYING ||
         state == pb::FineTune::AVAILABLE;
}

bool HasUnknownWord(const pb::FineTune& fine_tune) {
  return !fine_tune.upstream_status().empty() &&
         StateOf(fine_tune.upstream_status()) == pb::FineTune::STATE_UNSPECIFIED;
}

bool WasNotSubmitted(const pb::FineTune& fine_tune) {
  return fine_tune.state() == pb::FineTune::FAILED &&
         fine_tune.failure().reason() == pb::Failure::NOT_SUBMITTED;
}

void MoveTo(pb::FineTune::State state, const std::string& upstream_status, absl::Time time,
            pb::StateTransition::Source source, record::FineTuneRecord& record) {
  pb::FineTune& job = *record.mutable_fine_tune();
  auto& transitions = *job.mutable_transitions();
  if (!transitions.empty() && job.state() == state && job.upstream_status() == upstream_status) {
    return;
  }
  // A list that began before the submission ended may show its job. The history stays in order.
  if (!transitions.empty()) time = std::max(time, FromProto(transitions.rbegin()->time()));
  if (job.state() != state) record.set_details_known(false);
  NoteMilestones(state, time, job);
  record.set_dormant(false);
  job.set_state(state);
  job.set_upstream_status(upstream_status);
  if (transitions.size() >= kMaxTransitions) {
    transitions.DeleteSubrange(1, transitions.size() - kMaxTransitions + 1);
  }
  pb::StateTransition* transition = transitions.Add();
  transition->set_state(state);
  transition->set_upstream_status(upstream_status);
  *transition->mutable_time() = ToProto(time);
  transition->set_source(source);
}

Joined Join(const Reading& reading, record::FineTuneRecord& record) {
  const bool own = !record.request_id().empty();
  pb::FineTune& job = *record.mutable_fine_tune();
  const Joined result = reading.read < record.read() ? Joined::kStale
                        : IsDoubtful(reading, job)   ? Joined::kDoubtful
                                                     : Joined::kFresh;
  const bool fresh = result == Joined::kFresh;
  JoinIds(reading.job, record);
  TakeFields(reading.job.fields, own || !fresh, !fresh, job);
  JoinRequest(reading.job, own || !fresh, record);
  if (fresh) JoinState(reading, record);
  JoinResults(reading.job, !fresh, job);
  if (!job.has_create_time()) {
    *job.mutable_create_time() = ToProto(reading.time);
    job.set_create_time_estimated(true);
  }
  Derive(job);
  if (record.shown_read() == 0) record.set_shown_read(reading.ended);
  if (fresh) {
    if (reading.job.from_details) record.set_details_known(true);
    record.set_read(reading.read);
    // The recorder does not count these as changes.
    *record.mutable_read_time() = ToProto(reading.time);
    *job.mutable_observe_time() = ToProto(reading.time);
  }
  job.set_details_pending(IsPending(record));
  return result;
}

record::FineTuneRecord ForeignRecord(const std::string& id, const Reading& reading) {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_name(NameOf(id));
  Join(reading, record);
  if (record.fine_tune().transitions().empty()) {
    MoveTo(pb::FineTune::STATE_UNSPECIFIED, "", reading.time, reading.source, record);
  }
  return record;
}

std::string ForeignId(const std::string& upstream_id) {
  const bool usable = upstream_id.size() <= 128 && !upstream_id.empty() &&
                      std::all_of(upstream_id.begin(), upstream_id.end(), [](unsigned char c) {
                        return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
                      });
  return usable ? upstream_id : DerivedId(upstream_id);
}

std::string DerivedId(const std::string& upstream_id) {
  std::string bytes = Sha256Of(upstream_id).substr(0, 16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x80);  // Version 8: custom.
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  const std::string hex = absl::BytesToHexString(bytes);
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

}  // namespace finetune
