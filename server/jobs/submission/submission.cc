#include "server/jobs/submission/submission.h"

#include <algorithm>
#include <utility>

#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/submission/submission_input.h"

namespace finetune {
namespace {

absl::Status NotBegun() {
  return Error(absl::StatusCode::kDeadlineExceeded, pb::ErrorReason::OVERLOADED,
               "the call's time was up before its submission began: send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

absl::Status NotSent() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::OVERLOADED,
               "nothing was sent to Segmind in time: send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

absl::Status NotOwned() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               "nothing was sent to Segmind: the database does not tell whether this gateway still "
               "may; send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

absl::Status NotFollowed() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               "the record was loaded anew meanwhile: send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

absl::Status NotRecorded() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               "the submission's outcome could not be recorded in time: send the same request_id "
               "again")
      .RetryAfter(absl::Seconds(1));
}

}  // namespace

Submission::Submission(std::shared_ptr<SubmissionParts> parts, CreateCall call,
                       std::string fingerprint, Moved moved)
    : parts_(std::move(parts)),
      key_(std::move(call.caller), std::move(call.request_id)),
      limits_(call.limits),
      spender_(std::move(call.spender)),
      fingerprint_(std::move(fingerprint)),
      fine_tune_(std::move(call.fine_tune)),
      look_(std::move(call.look)),
      trace_(call.trace),
      sharer_(std::move(call.sharer)),
      notes_(std::move(call.notes)),
      moved_(std::move(moved)),
      callers_(parts_->clock,
               [this](uint64_t caller) {
                 parts_->worker.Post([weak = weak_from_this(), caller] {
                   if (auto self = weak.lock()) self->OnAnswerBy(caller);
                 });
               }),
      tries_(absl::Milliseconds(100), absl::Seconds(5)),
      records_(absl::Milliseconds(100), absl::Seconds(5)) {}

void Submission::Add(absl::Time deadline, SubmissionCallers::Done done) {
  callers_.Add(deadline, std::move(done));
}

// ---- Its way ----

void Submission::Prepare() {
  record::Intent intent;
  intent.set_caller(key_.first);
  intent.set_request_id(key_.second);
  intent.set_fine_tune_id(MakeUuid());
  intent.set_fingerprint(fingerprint_);
  intent.set_prepared_read(parts_->catalog.numbers().NotAfterNow());
  if (const auto time = parts_->tracker.upstream_clock().CreatedAt(parts_->clock.Now()))
    *intent.mutable_upstream_time() = ToProto(*time);
  intent.set_state(record::Intent::PREPARED);
  *intent.mutable_fine_tune() = UnsignedInputOf(fine_tune_);
  auto prepared = std::make_shared<Prepared>();
  parts_->recorder.Record(
      Preparation{.intent = std::move(intent),
                  .limits = limits_,
                  .spender = spender_,
                  .markers = parts_->options.markers,
                  .membership = parts_->recorder.membership(),
                  .credits_left = parts_->CreditsLeft(),
                  .prepared = prepared},
      [self = shared_from_this(), prepared](const absl::Status& status) {
        self->parts_->worker.RunOrPost(
            [self, prepared, status] { self->OnPrepared(*prepared, status); });
      },
      trace_);
}

void Submission::TellOfBudgets(const BudgetVerdict& verdict) {
  if (!verdict.refused_by.empty()) parts_->BudgetRefusals(verdict.refused_by).Increment();
  for (const auto& [budget, warning] : verdict.warnings) {
    parts_->BudgetWarnings(budget).Increment();
    Log(LogLevel::kWarning, warning,
        {{"trace_id", trace_.TraceId()},
         {"audit", true},
         {"caller", key_.first},
         {"request_id", key_.second},
         {"budget", budget}});
    if (notes_ != nullptr) notes_->warnings.push_back(warning);
  }
}

void Submission::CountCost() {
  const record::Charge& charge = intent_.charge();
  if (charge.unit().empty()) return;
  parts_->EstimatedCost(charge.team(), charge.unit())
      .Increment(static_cast<double>(charge.micros()) / 1e6);
}

void Submission::OnPrepared(const Prepared& prepared, const absl::Status& status) {
  if (status.ok() == prepared.verdict.refused_by.empty()) TellOfBudgets(prepared.verdict);
  if (!status.ok()) {
    // The record may be waiting for a list of Segmind's.
    if (ReasonOf(status) == pb::ErrorReason::STORE_UNAVAILABLE) parts_->tracker.Wake();
    return Finish(status);
  }
  intent_ = prepared.intent;
  if (prepared.is_own) return look_ ? Look() : TryPost();
  parts_->repeated.Increment();
  if (intent_.state() == record::Intent::PREPARED) return Await();
  Settle();
}

void Submission::Look() {
  phase_ = Phase::kLooking;
  look_([self = shared_from_this()](absl::Status status) {
    self->parts_->worker.Post(
        [self, status = std::move(status)]() mutable { self->OnLooked(std::move(status)); });
  });
}

void Submission::OnLooked(absl::Status status) {
  if (status.ok()) return TryPost();
  outcome_.kind = SubmitOutcome::Kind::kRefused;
  outcome_.status = std::move(status);
  RecordOutcome();
}

void Submission::TryPost() {
  const absl::Time now = parts_->clock.Now();
  const absl::Time start_by = callers_.StartBy();
  if (start_by <= now || parts_->draining) {
    // Nobody waits for it any more, or not for long enough to send it.
    if (outcome_.status.ok()) outcome_.status = parts_->draining ? SubmitterDraining() : NotSent();
    outcome_.kind = SubmitOutcome::Kind::kNotSent;
    return RecordOutcome();
  }
  phase_ = Phase::kPosting;
  post_time_ = now;
  post_read_ = parts_->catalog.NextRead();
  CallContext context(start_by, trace_, sharer_);
  context.may_send = [parts = parts_, owner = intent_.owner()] { return parts->MaySend(owner); };
  // The input comes from the call: only there do its URLs have their signatures.
  parts_->segmind.Submit(
      SignedInputOf(fine_tune_), AddMarker(intent_.fine_tune().display_name(), intent_.marker()),
      context, [self = shared_from_this()](SubmitOutcome outcome) {
        self->parts_->worker.RunOrPost([self, outcome = std::move(outcome)]() mutable {
          self->OnOutcome(std::move(outcome));
        });
      });
}

void Submission::OnOutcome(SubmitOutcome outcome) {
  outcome_ = std::move(outcome);
  if (outcome_.kind == SubmitOutcome::Kind::kNotSent && parts_->draining) {
    outcome_.status = SubmitterDraining();
  } else if (outcome_.kind == SubmitOutcome::Kind::kNotSent) {
    if (!parts_->MaySend(intent_.owner())) outcome_.status = NotOwned();
    const absl::Duration delay =
        std::max(tries_.Next(), RetryDelayOf(outcome_.status).value_or(absl::ZeroDuration()));
    if (callers_.StartBy() > parts_->clock.Now() + delay) {
      phase_ = Phase::kPausing;
      return After(delay, &Submission::TryAgain);
    }
  }
  RecordOutcome();
}

// The pause may have been ended in the meantime.
void Submission::TryAgain() {
  if (phase_ == Phase::kPausing) TryPost();
}

void Submission::RecordOutcome() {
  phase_ = Phase::kEnding;
  auto ended = std::make_shared<Ended>();
  parts_->recorder.Record(
      [own = intent_, outcome = outcome_, post_read = post_read_,
       post_time = parts_->clock.ToWall(post_time_),
       unknown_read = parts_->catalog.numbers().NotBeforeNow(),
       ended](Draft& draft) -> absl::Status {
        *ended = Ended();
        auto found = draft.FindIntent(own.caller(), own.request_id());
        if (!found.ok()) return found.status();
        const bool ours = found->has_value() && (*found)->fine_tune_id() == own.fine_tune_id();
        record::Intent intent = ours ? **found : own;
        if (outcome.kind == SubmitOutcome::Kind::kAccepted) {
          const auto id = Accept(draft, intent,
                                 {.job = outcome.job,
                                  .read = post_read,
                                  .time = post_time,
                                  .source = pb::StateTransition::SUBMIT});
          ended->fine_tune_id = id.value_or(intent.fine_tune_id());
          if (id) return absl::OkStatus();
          ended->unknown = true;
          BecomeUnknown(draft, std::move(intent), "Segmind's answer names another job",
                        unknown_read);
          return absl::OkStatus();
        }
        // A list has shown the job in the meantime.
        if (intent.state() == record::Intent::ACCEPTED) {
          ended->fine_tune_id = intent.fine_tune_id();
          return absl::OkStatus();
        }
        if (outcome.kind == SubmitOutcome::Kind::kUnknown) {
          ended->fine_tune_id = intent.fine_tune_id();
          ended->unknown = true;
          const absl::string_view why = outcome.status.message();
          BecomeUnknown(draft, std::move(intent), {why.data(), why.size()}, unknown_read);
          return absl::OkStatus();
        }
        // An earlier try of this mutation may have been committed although it was reported as
        // failed.
        ended->refusal = outcome.status;
        if (ours) {
          Abandon(draft, std::move(intent), outcome.status, pb::StateTransition::SUBMIT);
        }
        return absl::OkStatus();
      },
      [self = shared_from_this(), ended](const absl::Status& status) {
        self->parts_->worker.RunOrPost([self, ended, status] { self->OnRecorded(*ended, status); });
      },
      trace_);
}

void Submission::OnRecorded(const Ended& ended, const absl::Status& status) {
  if (!status.ok()) {
    // Until the outcome is durable the submission stays, and keeps its request_id from being posted
    // again.
    Log(LogLevel::kError, "a submission's outcome could not be recorded yet",
        {{"trace_id", trace_.TraceId()},
         {"span_id", trace_.SpanId()},
         {"request_id", key_.second},
         {"error", status.ToString()}});
    return After(records_.Next(), &Submission::RecordOutcome);
  }
  if (!ended.refusal.ok()) {
    const bool refused = outcome_.kind == SubmitOutcome::Kind::kRefused;
    (refused ? parts_->refused : parts_->not_sent).Increment();
    parts_->NotMadeFor(ReasonOf(ended.refusal)).Increment();
    Audit(refused ? "submission refused" : "submission not sent", ended.refusal);
    // The next list shows whether the key itself is rejected, or only this kind of call.
    if (ReasonOf(ended.refusal) == pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED)
      parts_->tracker.Wake();
    return Finish(ended.refusal);
  }
  intent_.set_fine_tune_id(ended.fine_tune_id);
  // The next poll may be a long idle interval away.
  parts_->tracker.Wake();
  if (!ended.unknown) {
    parts_->accepted.Increment();
    CountCost();
    parts_->tracker.NoteSubmitted(outcome_.job.id, post_time_, parts_->clock.Now());
    Audit("submission accepted", absl::OkStatus());
    return Finish(Find(ended.fine_tune_id));
  }
  parts_->unknown.Increment();
  Audit("submission's outcome unknown", outcome_.status);
  Settle();
}

// ---- What others do for it ----

void Submission::Await() {
  phase_ = Phase::kAwaiting;
  if (parts_->draining) return Finish(SubmitterDraining());
  moved_();
  // The commit in which it was found may also have told its end.
  if (heard_ && heard_->fine_tune_id() == intent_.fine_tune_id())
    OnIntent(*std::exchange(heard_, std::nullopt));
}

void Submission::OnIntent(const record::Intent& intent) {
  if (phase_ == Phase::kPreparing) heard_ = intent;
  if (phase_ != Phase::kAwaiting && phase_ != Phase::kSettling) return;
  const bool was_awaited = phase_ == Phase::kAwaiting;
  intent_ = intent;
  switch (intent.state()) {
    case record::Intent::ACCEPTED:
    case record::Intent::NOT_SUBMITTED:
      return Finish(Find(intent.fine_tune_id()));
    case record::Intent::REFUSED:
      return Finish(DecodeStatus(intent.refusal()));
    case record::Intent::UNKNOWN:
      if (was_awaited) Settle();
      return;
    default:
      return;
  }
}

void Submission::OnReloaded() {
  if (phase_ == Phase::kAwaiting || phase_ == Phase::kSettling) Finish(NotFollowed());
}

// Answers if the outcome is known, and waits for the tracker to find it otherwise.
void Submission::Settle() {
  phase_ = Phase::kSettling;
  const std::string id = intent_.fine_tune_id();
  const VersionPtr version = parts_->catalog.Find(id);
  const bool open = version != nullptr && version->state == pb::FineTune::SUBMIT_UNKNOWN;
  if (!open || parts_->draining || callers_.empty()) return Finish(Find(id));
  moved_();
}

void Submission::OnSettled(const std::string& fine_tune_id) {
  if (phase_ == Phase::kSettling && intent_.fine_tune_id() == fine_tune_id)
    Finish(Find(fine_tune_id));
}

void Submission::Finish(const absl::StatusOr<VersionPtr>& result) {
  phase_ = Phase::kOver;
  moved_();
  callers_.AnswerAll(result);
}

// ---- Callers whose time is up ----

void Submission::OnAnswerBy(uint64_t caller) {
  if (!callers_.Has(caller)) return;
  switch (phase_) {
    case Phase::kPreparing:
    case Phase::kLooking:
      return callers_.Answer(caller, parts_->draining ? SubmitterDraining() : NotBegun());
    case Phase::kPosting:
    case Phase::kAwaiting:
      return Show(caller);
    case Phase::kPausing:
      // The next try finds out whether anybody still waits.
      return callers_.Answer(caller, outcome_.status);
    case Phase::kEnding:
      return callers_.Answer(caller, outcome_.kind == SubmitOutcome::Kind::kRefused ||
                                             outcome_.kind == SubmitOutcome::Kind::kNotSent
                                         ? outcome_.status
                                         : NotRecorded());
    case Phase::kSettling:
      callers_.Answer(caller, Find(intent_.fine_tune_id()));
      if (callers_.empty()) Finish(Find(intent_.fine_tune_id()));
      return;
    case Phase::kOver:
      return;
  }
}

// The caller's time is up while the POST is under way: the job is made visible as SUBMIT_UNKNOWN.
// Its intent stays PREPARED, because the answer is still awaited here.
void Submission::Show(uint64_t caller) {
  parts_->recorder.Record(
      [key = key_, id = intent_.fine_tune_id()](Draft& draft) {
        auto intent = draft.FindIntent(key.first, key.second);
        if (!intent.ok()) return intent.status();
        const bool awaited = intent->has_value() && (*intent)->fine_tune_id() == id &&
                             (*intent)->state() == record::Intent::PREPARED;
        if (awaited) ShowUnknown(draft, **intent);
        return absl::OkStatus();
      },
      [self = shared_from_this(), caller](const absl::Status& status) {
        self->parts_->worker.Post([self, caller, status] { self->OnShown(caller, status); });
      },
      trace_);
}

void Submission::OnShown(uint64_t caller, const absl::Status& status) {
  // The outcome may have been recorded, and the caller answered, in the meantime.
  if (!callers_.Has(caller)) return;
  if (!status.ok()) return callers_.Answer(caller, NotRecorded());
  auto version = Find(intent_.fine_tune_id());
  // If there is no job, the outcome is a refusal, and the caller is about to hear it.
  if (!version.ok()) return;
  parts_->tracker.Wake();
  callers_.Answer(caller, std::move(version));
  const bool waits = phase_ == Phase::kSettling || phase_ == Phase::kAwaiting;
  if (waits && callers_.empty()) Finish(Find(intent_.fine_tune_id()));
}

// ---- The end ----

void Submission::BeginDrain(absl::Time answer_by) {
  switch (phase_) {
    case Phase::kSettling:
      return Finish(Find(intent_.fine_tune_id()));
    case Phase::kAwaiting:
      return Finish(SubmitterDraining());
    case Phase::kPausing:
      TryPost();
      break;
    default:
      break;
  }
  callers_.Hurry(answer_by);
}

absl::StatusOr<VersionPtr> Submission::Find(const std::string& fine_tune_id) const {
  VersionPtr version = parts_->catalog.Find(fine_tune_id);
  if (version != nullptr) return version;
  // The database may have lost the job since.
  if (parts_->recorder.is_shared()) return NotFollowed();
  return Error(absl::StatusCode::kInternal, pb::ErrorReason::FINE_TUNE_NOT_FOUND,
               "the record has a submission without its job")
      .Resource("segmind.finetune.v1.FineTune", NameOf(fine_tune_id));
}

void Submission::After(absl::Duration delay, Step step) {
  parts_->clock.RunAfter(delay, [self = shared_from_this(), step] {
    self->parts_->worker.Post([self, step] { ((*self).*step)(); });
  });
}

void Submission::Audit(const char* what, const absl::Status& status) const {
  Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarning, what,
      {{"trace_id", trace_.TraceId()},
       {"span_id", trace_.SpanId()},
       {"audit", true},
       {"caller", intent_.caller()},
       {"request_id", intent_.request_id()},
       {"fine_tune", intent_.fine_tune_id()},
       {"marker", intent_.marker()},
       {"error", status.ok() ? std::string() : status.ToString()}});
}

}  // namespace finetune
