#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <utility>

#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/quota.h"
#include "server/base/sha256.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/submission/submitter_core.h"
#include "server/segmind/job_signatures.h"

namespace finetune {
namespace {

// What a caller may ask for; all else in the message is output. With what signs its URLs: to be
// sent, and not to be kept.
pb::FineTune SignedInputOf(const pb::FineTune& fine_tune) {
  pb::FineTune input;
  input.set_display_name(fine_tune.display_name());
  input.set_data_source_uri(fine_tune.data_source_uri());
  input.set_instance_prompt(fine_tune.instance_prompt());
  input.set_trigger_word(fine_tune.trigger_word());
  input.set_base_model(fine_tune.base_model());
  input.set_theme(fine_tune.theme());
  input.set_train_type(fine_tune.train_type());
  input.set_machine_type(fine_tune.machine_type());
  if (fine_tune.has_parameters()) *input.mutable_parameters() = fine_tune.parameters();
  input.set_visibility(fine_tune.visibility() == pb::FineTune::VISIBILITY_UNSPECIFIED
                           ? pb::FineTune::PRIVATE
                           : fine_tune.visibility());
  *input.mutable_labels() = fine_tune.labels();
  return input;
}

// The same as it is kept, shown and compared: a repeat may bring a URL that was signed anew.
pb::FineTune InputOf(const pb::FineTune& fine_tune) {
  pb::FineTune input = SignedInputOf(fine_tune);
  RemoveSignatures(input);
  return input;
}

// Whether the caller may have one more job. What cannot be counted is refused.
absl::Status CheckSpending(Draft& draft, const std::string& caller, const SpendingLimits& limits) {
  if (!limits.creates_per_day && !limits.active_jobs) return absl::OkStatus();
  auto spending = draft.SpendingOf(caller);
  if (!spending.ok()) return spending.status();
  if (limits.creates_per_day && spending->creates.count >= *limits.creates_per_day) {
    const absl::Duration until_free = spending->creates.oldest + kSpendingWindow - draft.now();
    return QuotaExceeded(caller, "creates_per_day", absl::StrCat(*limits.creates_per_day),
                         std::clamp(until_free, absl::Seconds(1), kSpendingWindow));
  }
  if (limits.active_jobs && spending->active_jobs >= *limits.active_jobs) {
    return QuotaExceeded(caller, "active_jobs", absl::StrCat(*limits.active_jobs),
                         absl::Minutes(1));
  }
  return absl::OkStatus();
}

}  // namespace

std::string FingerprintOf(const pb::FineTune& fine_tune) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    InputOf(fine_tune).SerializeToCodedStream(&coded);
  }
  return Sha256Of(bytes);
}

void Submitter::Core::Prepare(const FlightPtr& flight) {
  record::Intent intent;
  intent.set_caller(flight->key.first);
  intent.set_request_id(flight->key.second);
  intent.set_fine_tune_id(MakeUuid());
  intent.set_fingerprint(flight->fingerprint);
  if (options_.markers) intent.set_marker(MakeMarker());
  intent.set_state(record::Intent::PREPARED);
  *intent.mutable_fine_tune() = InputOf(flight->fine_tune);
  auto prepared = std::make_shared<Prepared>();
  recorder_.Record(
      [intent = std::move(intent), limits = flight->limits,
       prepared](Draft& draft) -> absl::Status {
        *prepared = Prepared();
        auto found = draft.FindIntent(intent.caller(), intent.request_id());
        if (!found.ok()) return found.status();
        if (found->has_value()) {
          record::Intent& earlier = **found;
          if (earlier.fingerprint() != intent.fingerprint()) {
            return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::REQUEST_ID_REUSED,
                         "this request_id came before with other parameters")
                .Field("request_id", "came before with other parameters");
          }
          if (earlier.state() != record::Intent::NOT_SUBMITTED) {
            // PREPARED, with no flight for it: a commit whose failure was reported came through.
            if (earlier.state() == record::Intent::PREPARED)
              BecomeUnknown(draft, earlier, "it was recorded and perhaps not sent");
            prepared->intent = std::move(earlier);
            return absl::OkStatus();
          }
        }
        // Reserved by the intent, in this very commit.
        if (absl::Status may = CheckSpending(draft, intent.caller(), limits); !may.ok()) return may;
        prepared->is_new = true;
        prepared->intent = intent;
        *prepared->intent.mutable_create_time() = ToProto(draft.now());
        draft.PutIntent(prepared->intent);
        return absl::OkStatus();
      },
      [self = shared_from_this(), flight, prepared](const absl::Status& status) {
        Core* core = self.get();
        core->RunOrPost(
            [core, flight, prepared, status] { core->OnPrepared(flight, *prepared, status); });
      },
      flight->trace);
}

void Submitter::Core::OnPrepared(const FlightPtr& flight, const Prepared& prepared,
                                 const absl::Status& status) {
  if (!status.ok()) {
    Forget(flight);
    return AnswerAll(*flight, status);
  }
  flight->intent = prepared.intent;
  if (prepared.is_new) return TryPost(flight);
  repeated_.Increment();
  Settle(flight);
}

absl::Time Submitter::Core::StartBy(const Flight& flight) const {
  absl::Time start_by = absl::InfinitePast();
  for (const auto& [id, waiter] : flight.waiters) start_by = std::max(start_by, waiter.start_by);
  return start_by;
}

void Submitter::Core::TryPost(const FlightPtr& flight) {
  const absl::Time now = clock_.Now();
  const absl::Time start_by = StartBy(*flight);
  if (start_by <= now || draining_) {
    // Nobody waits for it any more, or not long enough.
    if (flight->outcome.status.ok()) {
      flight->outcome.status =
          Error(absl::StatusCode::kUnavailable, pb::ErrorReason::OVERLOADED,
                "nothing was sent to Segmind in time: send the same request_id again")
              .RetryAfter(absl::Seconds(1));
    }
    flight->outcome.kind = SubmitOutcome::Kind::kNotSent;
    return RecordOutcome(flight);
  }
  flight->phase = Phase::kPosting;
  flight->post_time = now;
  // A new intent's input is the flight's own, which alone has what signs its URLs.
  segmind_.Submit(SignedInputOf(flight->fine_tune),
                  AddMarker(flight->intent.fine_tune().display_name(), flight->intent.marker()),
                  {start_by, flight->trace, flight->sharer},
                  [self = shared_from_this(), flight](SubmitOutcome outcome) {
                    Core* core = self.get();
                    core->RunOrPost([core, flight, outcome = std::move(outcome)]() mutable {
                      core->OnOutcome(flight, std::move(outcome));
                    });
                  });
}

void Submitter::Core::OnOutcome(const FlightPtr& flight, SubmitOutcome outcome) {
  flight->outcome = std::move(outcome);
  if (flight->outcome.kind == SubmitOutcome::Kind::kNotSent) {
    const absl::Duration delay = std::max(
        flight->tries.Next(), RetryDelayOf(flight->outcome.status).value_or(absl::ZeroDuration()));
    if (StartBy(*flight) > clock_.Now() + delay && !draining_) {
      flight->phase = Phase::kPausing;
      return After(delay, flight, &Core::TryPost);
    }
  }
  RecordOutcome(flight);
}

void Submitter::Core::RecordOutcome(const FlightPtr& flight) {
  flight->phase = Phase::kEnding;
  auto ended = std::make_shared<Ended>();
  recorder_.Record(
      [flight_intent = flight->intent, outcome = flight->outcome, post_time = flight->post_time,
       ended](Draft& draft) -> absl::Status {
        *ended = Ended();
        auto found = draft.FindIntent(flight_intent.caller(), flight_intent.request_id());
        if (!found.ok()) return found.status();
        const bool ours =
            found->has_value() && (*found)->fine_tune_id() == flight_intent.fine_tune_id();
        record::Intent intent = ours ? **found : flight_intent;
        if (outcome.kind == SubmitOutcome::Kind::kAccepted) {
          ended->fine_tune_id = Accept(
              draft, std::move(intent),
              {.job = outcome.job, .start_time = post_time, .source = pb::StateTransition::SUBMIT});
          return absl::OkStatus();
        }
        // A list showed it meanwhile.
        if (intent.state() == record::Intent::ACCEPTED) {
          ended->fine_tune_id = intent.fine_tune_id();
          return absl::OkStatus();
        }
        if (outcome.kind == SubmitOutcome::Kind::kUnknown) {
          ended->fine_tune_id = intent.fine_tune_id();
          ended->unknown = true;
          const absl::string_view why = outcome.status.message();
          BecomeUnknown(draft, std::move(intent), {why.data(), why.size()});
          return absl::OkStatus();
        }
        // An earlier try of this very mutation may have been committed though it said it was not.
        ended->refusal = outcome.status;
        if (ours) {
          Abandon(draft, std::move(intent), std::string(outcome.status.message()),
                  pb::StateTransition::SUBMIT);
        }
        return absl::OkStatus();
      },
      [self = shared_from_this(), flight, ended](const absl::Status& status) {
        Core* core = self.get();
        core->RunOrPost(
            [core, flight, ended, status] { core->OnRecorded(flight, *ended, status); });
      },
      flight->trace);
}

void Submitter::Core::OnRecorded(const FlightPtr& flight, const Ended& ended,
                                 const absl::Status& status) {
  if (!status.ok()) {
    // The flight stays, and keeps its request_id from being posted again, until this is durable.
    Log(LogLevel::kError, "a submission's outcome could not be recorded yet",
        {{"trace_id", flight->trace.TraceId()},
         {"span_id", flight->trace.SpanId()},
         {"request_id", flight->key.second},
         {"error", status.ToString()}});
    return After(flight->records.Next(), flight, &Core::RecordOutcome);
  }
  if (!ended.refusal.ok()) {
    const bool refused = flight->outcome.kind == SubmitOutcome::Kind::kRefused;
    (refused ? refused_ : not_sent_).Increment();
    Audit(*flight, refused ? "submission refused" : "submission not sent", ended.refusal);
    Forget(flight);
    return AnswerAll(*flight, ended.refusal);
  }
  flight->intent.set_fine_tune_id(ended.fine_tune_id);
  // The next poll may be a long idle interval away.
  tracker_.Wake();
  if (!ended.unknown) {
    accepted_.Increment();
    Audit(*flight, "submission accepted", absl::OkStatus());
    return Finish(flight, ended.fine_tune_id);
  }
  unknown_.Increment();
  Audit(*flight, "submission's outcome unknown", flight->outcome.status);
  Settle(flight);
}

// Answers if the outcome is known, and waits for the tracker to find it otherwise.
void Submitter::Core::Settle(const FlightPtr& flight) {
  flight->phase = Phase::kSettling;
  const std::string id = flight->intent.fine_tune_id();
  const VersionPtr version = catalog_.Find(id);
  const bool open = version != nullptr && version->state == pb::FineTune::SUBMIT_UNKNOWN;
  if (!open || draining_ || flight->waiters.empty()) return Finish(flight, id);
  NoteBusy();
}

void Submitter::Core::Finish(const FlightPtr& flight, const std::string& fine_tune_id) {
  Forget(flight);
  AnswerAll(*flight, Find(fine_tune_id));
}

absl::StatusOr<VersionPtr> Submitter::Core::Find(const std::string& fine_tune_id) const {
  VersionPtr version = catalog_.Find(fine_tune_id);
  if (version != nullptr) return version;
  return Error(absl::StatusCode::kInternal, pb::ErrorReason::FINE_TUNE_NOT_FOUND,
               "the record has a submission without its job")
      .Resource("segmind.finetune.v1.FineTune", NameOf(fine_tune_id));
}

void Submitter::Core::After(absl::Duration delay, const FlightPtr& flight,
                            void (Core::*step)(const FlightPtr&)) {
  clock_.RunAfter(delay, [weak = weak_from_this(), flight, step] {
    auto core = weak.lock();
    if (core == nullptr) return;
    core->Post([core = core.get(), flight, step] { (core->*step)(flight); });
  });
}

void Submitter::Core::Audit(const Flight& flight, const char* what, const absl::Status& status) {
  const record::Intent& intent = flight.intent;
  Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarning, what,
      {{"trace_id", flight.trace.TraceId()},
       {"span_id", flight.trace.SpanId()},
       {"audit", true},
       {"caller", intent.caller()},
       {"request_id", intent.request_id()},
       {"fine_tune", intent.fine_tune_id()},
       {"marker", intent.marker()},
       {"error", status.ok() ? std::string() : status.ToString()}});
}

}  // namespace finetune
