#include "server/jobs/submission/submitter.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/submission/submission.h"
#include "server/jobs/submission/submission_input.h"

namespace finetune {
namespace {

constexpr std::string_view kDied = "the gateway ended while it waited for the answer";

absl::Status TooLate() {
  return Error(absl::StatusCode::kDeadlineExceeded, pb::ErrorReason::OVERLOADED,
               "the deadline passed before anything was done");
}

absl::Status Reused() {
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::REQUEST_ID_REUSED,
               "this request_id came before with other parameters")
      .Field("request_id", "came before with other parameters");
}

}  // namespace

Submitter::Submitter(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
                     Tracker& tracker, Clock& clock, Metrics& metrics)
    : parts_(std::make_shared<SubmissionParts>(options, segmind, recorder, catalog, tracker, clock,
                                               metrics)) {
  tracker.OnSettled([weak = std::weak_ptr<SubmissionParts>(parts_), this](const std::string& id) {
    // Once it has stopped, the worker drops this.
    if (auto parts = weak.lock()) parts->worker.Post([this, id] { OnSettled(id); });
  });
}

Submitter::~Submitter() { Stop(absl::InfinitePast()); }

absl::Status Submitter::Recover() {
  struct Result {
    Mutex mu;
    CondVar changed;
    std::optional<absl::Status> status ABSL_GUARDED_BY(mu);
  };
  auto result = std::make_shared<Result>();
  parts_->recorder.Record(
      [read = parts_->catalog.numbers().NotBeforeNow(),
       shared = parts_->recorder.is_shared()](Draft& draft) {
        // With other processes, the recorder knows which owners are gone.
        if (shared) return absl::OkStatus();
        for (record::Intent& intent : draft.UnsettledIntents()) {
          if (intent.state() == record::Intent::PREPARED)
            BecomeUnknown(draft, std::move(intent), kDied, read);
        }
        return absl::OkStatus();
      },
      [result](absl::Status status) {
        MutexLock lock(result->mu);
        result->status = std::move(status);
        result->changed.NotifyAll();
      });
  absl::Status status;
  {
    MutexLock lock(result->mu);
    while (!result->status) result->changed.Wait(result->mu);
    status = *result->status;
  }
  if (status.ok()) parts_->tracker.Wake();
  return status;
}

void Submitter::Create(CreateCall call, CreateDone done) {
  auto shared = std::make_shared<CreateDone>(std::move(done));
  const bool posted = parts_->worker.RunOrPost([this, shared, call = std::move(call)]() mutable {
    Take(std::move(call), std::move(*shared));
  });
  if (!posted) std::move (*shared)(SubmitterDraining());
}

void Submitter::Take(CreateCall call, CreateDone done) {
  if (parts_->draining) return std::move(done)(SubmitterDraining());
  if (call.deadline <= parts_->clock.Now()) return std::move(done)(TooLate());
  const Key key(call.caller, call.request_id);
  std::string fingerprint = FingerprintOf(call.fine_tune);
  std::shared_ptr<Submission>& found = submissions_[key];
  if (found == nullptr) {
    const absl::Time deadline = call.deadline;
    found = std::make_shared<Submission>(parts_, std::move(call), std::move(fingerprint),
                                         [this, key] { OnMoved(key); });
    const std::shared_ptr<Submission> made = found;
    made->Add(deadline, std::move(done));
    NoteBusy();
    return made->Start();
  }
  if (found->fingerprint() != fingerprint) return std::move(done)(Reused());
  parts_->repeated.Increment();
  found->Add(call.deadline, std::move(done));
}

void Submitter::OnMoved(const Key& key) {
  const auto found = submissions_.find(key);
  if (found != submissions_.end() && found->second->is_over()) submissions_.erase(found);
  NoteBusy();
}

// A copy of those under way, because what is done for one may end another.
std::vector<std::shared_ptr<Submission>> Submitter::All() const {
  std::vector<std::shared_ptr<Submission>> all;
  for (const auto& [key, submission] : submissions_) all.push_back(submission);
  return all;
}

void Submitter::OnSettled(const std::string& fine_tune_id) {
  for (const auto& submission : All()) submission->OnSettled(fine_tune_id);
}

// A process that writes alone knows what it did with the record.
void Submitter::OnIntents(absl::Span<const record::Intent> intents) {
  if (!parts_->recorder.is_shared()) return;
  parts_->worker.Post([this, all = std::vector<record::Intent>(intents.begin(), intents.end())] {
    for (const record::Intent& intent : all) {
      const auto found = submissions_.find({intent.caller(), intent.request_id()});
      if (found == submissions_.end()) continue;
      const std::shared_ptr<Submission> submission = found->second;
      submission->OnIntent(intent);
    }
  });
}

void Submitter::OnReloaded() {
  parts_->worker.Post([this] {
    for (const auto& submission : All()) submission->OnReloaded();
  });
}

void Submitter::Release() {
  if (!parts_->recorder.is_shared() || parts_->released.exchange(true)) return;
  parts_->recorder.Record(
      [&membership = parts_->recorder.membership(),
       read = parts_->catalog.numbers().NotBeforeNow()](Draft& draft) {
        for (record::Intent& intent : draft.UnsettledIntents()) {
          if (intent.state() == record::Intent::PREPARED && membership.IsMine(intent.owner()))
            BecomeUnknown(draft, std::move(intent), kDied, read);
        }
        return absl::OkStatus();
      },
      [](const absl::Status&) {});
}

namespace {

// The checks that a submission would meet; see Submission::Preparation.
absl::Status LookAhead(Draft& draft, const Submitter::Prospect& prospect,
                       std::optional<int64_t> credits_left, Forecast& forecast) {
  forecast = {.job = prospect.fine_tune};
  if (prospect.limits.any()) {
    ASSIGN_OR_RETURN(forecast.spending, draft.SpendingOf(prospect.caller));
  }
  record::Charge charge;
  if (prospect.spender != nullptr) {
    const auto labels = LabelsFor(*prospect.spender, forecast.job);
    forecast.refusal = labels.status();
    if (labels.ok()) *forecast.job.mutable_labels() = {labels->begin(), labels->end()};
    charge = ChargeOf(*prospect.spender, forecast.job, draft.now());
    const auto& own = forecast.job.labels();
    ASSIGN_OR_RETURN(forecast.budgets,
                     UsesOf(draft, prospect.caller, *prospect.spender, {own.begin(), own.end()}));
  }
  ShowCharge(charge, forecast.job);
  if (forecast.refusal.ok())
    forecast.refusal =
        CheckSpending(prospect.caller, forecast.spending, prospect.limits, draft.now());
  if (forecast.refusal.ok())
    forecast.refusal = JudgeCharge(forecast.budgets, charge, draft.now()).refusal;
  if (forecast.refusal.ok()) forecast.refusal = CheckCredits(charge, credits_left);
  return absl::OkStatus();
}

}  // namespace

void Submitter::Foresee(Prospect prospect,
                        absl::AnyInvocable<void(absl::StatusOr<Forecast>) &&> done) {
  auto forecast = std::make_shared<Forecast>();
  parts_->recorder.Record(
      [prospect = std::move(prospect), credits_left = parts_->CreditsLeft(),
       forecast](Draft& draft) { return LookAhead(draft, prospect, credits_left, *forecast); },
      [forecast, done = std::move(done)](absl::Status status) mutable {
        if (status.ok())
          std::move(done)(std::move(*forecast));
        else
          std::move(done)(std::move(status));
      });
}

void Submitter::KnowSpenders(const std::vector<std::shared_ptr<const Spender>>& spenders) {
  for (const auto& spender : spenders) {
    for (const Budget& budget : spender->rules->budgets) {
      (void)parts_->BudgetRefusals(budget.name);
      (void)parts_->BudgetWarnings(budget.name);
    }
    if (!spender->rules->prices.empty())
      (void)parts_->EstimatedCost(spender->team, spender->rules->unit);
  }
}

void Submitter::NoteBusy() {
  const bool busy = std::any_of(submissions_.begin(), submissions_.end(),
                                [](const auto& entry) { return entry.second->is_busy(); });
  MutexLock lock(mu_);
  busy_ = busy;
  if (!busy) idle_.NotifyAll();
}

void Submitter::DrainAll(absl::Time answer_by) {
  parts_->draining = true;
  for (const auto& submission : All()) submission->BeginDrain(answer_by);
  NoteBusy();
  MutexLock lock(mu_);
  draining_ = true;
  idle_.NotifyAll();
}

void Submitter::BeginDrain(absl::Time answer_by) {
  parts_->worker.Post([this, answer_by] { DrainAll(answer_by); });
}

void Submitter::Stop(absl::Time deadline) {
  const bool posted = parts_->worker.Post([this, deadline] { DrainAll(deadline); });
  if (posted) {
    const absl::Time until = SteadyNow() + std::clamp(deadline - parts_->clock.Now(),
                                                      absl::ZeroDuration(), absl::Hours(1));
    MutexLock lock(mu_);
    while (!draining_) idle_.Wait(mu_);
    while (busy_ && idle_.WaitFor(mu_, until - SteadyNow())) continue;
  }
  parts_->worker.Post([this] {
    for (auto& [key, submission] : submissions_) submission->EndDrain(SubmitterDraining());
    submissions_.clear();
  });
  Release();
  parts_->worker.Stop();
}

}  // namespace finetune
