#include "server/jobs/submission/preparation.h"

#include <string>
#include <utility>

#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/settle.h"

namespace finetune {
namespace {

// How many earlier attempts that came to nothing the record may lack.
constexpr int kLostAttempts = 3;

void SetAttempt(Draft& draft, int attempt, bool marked, record::Intent& intent) {
  intent.set_attempt(attempt);
  if (!marked) return;
  intent.set_marker(MakeMarker(draft.marker_key(), intent.caller(), intent.request_id(), attempt));
}

bool AcceptLostAttempt(Draft& draft, int first, record::Intent& intent) {
  for (int attempt = first; attempt < first + kLostAttempts; ++attempt) {
    SetAttempt(draft, attempt, /*marked=*/true, intent);
    if (AcceptLost(draft, intent)) return true;
  }
  return false;
}

}  // namespace

absl::Status Preparation::operator()(Draft& draft) {
  *prepared = Prepared();
  int attempt = 0;
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
      // This process PREPARED it and has no submission for it: a commit was reported as failed but
      // came through, and nothing was sent.
      prepared->is_own =
          earlier.state() == record::Intent::PREPARED && membership.IsMine(earlier.owner());
      if (prepared->is_own && earlier.owner() != draft.owner()) {
        earlier.set_owner(draft.owner());
        draft.PutIntent(earlier);
      }
      prepared->intent = std::move(earlier);
      return absl::OkStatus();
    }
    attempt = earlier.attempt() + 1;
  }
  return Begin(draft, attempt);
}

absl::Status Preparation::Begin(Draft& draft, int attempt) {
  record::Intent& made = prepared->intent;
  made = intent;
  made.set_owner(draft.owner());
  *made.mutable_create_time() = ToProto(draft.now());
  const absl::Status labelled = SetCharge(draft.now());
  if (markers && AcceptLostAttempt(draft, attempt, made)) return absl::OkStatus();
  SetAttempt(draft, attempt, markers, made);
  // Checked in the same commit in which the intent takes what they grant.
  RETURN_IF_ERROR(labelled);
  RETURN_IF_ERROR(CheckSpendingOf(draft, intent.caller(), limits));
  RETURN_IF_ERROR(CheckBudgets(draft));
  RETURN_IF_ERROR(CheckCredits(made.charge(), credits_left));
  prepared->is_own = true;
  draft.PutIntent(made);
  return absl::OkStatus();
}

absl::Status Preparation::SetCharge(absl::Time now) {
  record::Intent& made = prepared->intent;
  absl::Status labelled;
  if (spender != nullptr) {
    const auto labels = LabelsFor(*spender, made.fine_tune());
    labelled = labels.status();
    if (labels.ok()) *made.mutable_fine_tune()->mutable_labels() = {labels->begin(), labels->end()};
    *made.mutable_charge() = ChargeOf(*spender, made.fine_tune(), now);
  } else {
    *made.mutable_charge()->mutable_time() = ToProto(now);
  }
  ShowCharge(made.charge(), *made.mutable_fine_tune());
  return labelled;
}

absl::Status Preparation::CheckBudgets(Draft& draft) {
  if (spender == nullptr || spender->rules->budgets.empty()) return absl::OkStatus();
  const record::Intent& made = prepared->intent;
  const auto& labels = made.fine_tune().labels();
  auto uses = UsesOf(draft, made.caller(), *spender, {labels.begin(), labels.end()});
  if (!uses.ok()) return uses.status();
  prepared->verdict = JudgeCharge(*uses, made.charge(), draft.now());
  return prepared->verdict.refusal;
}

}  // namespace finetune
