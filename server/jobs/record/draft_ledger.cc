#include "server/jobs/record/draft_ledger.h"

#include "server/base/status_macros.h"

namespace finetune {

DraftLedger::Submission* DraftLedger::Find(const std::string& fine_tune_id) {
  const auto it = submissions_.find(fine_tune_id);
  return it == submissions_.end() ? nullptr : &it->second;
}

DraftLedger::Submission& DraftLedger::Begin(const std::string& fine_tune_id, bool visible,
                                            Counted intent) {
  Submission& submission = submissions_[fine_tune_id];
  submission.before_.visible = visible;
  submission.before_.intent = std::move(intent);
  submission.after_ = submission.before_;
  return submission;
}

void DraftLedger::ChangeJob(Submission& submission, const Counted& before, Counted after) {
  Submission::Side& side = submission.after_;
  if (!submission.job_changed_) {
    submission.job_changed_ = true;
    submission.before_.job = before;
    side.job = before;
  }
  const Counted was = side.counted();
  side.visible = true;
  side.job = std::move(after);
  NotePending(was, side.counted());
}

void DraftLedger::ChangeIntent(Submission& submission, Counted after) {
  const Counted was = submission.after_.counted();
  submission.after_.intent = std::move(after);
  NotePending(was, submission.after_.counted());
}

void DraftLedger::NotePending(const Counted& before, const Counted& after) {
  if (!keeps_pending_ || before == after) return;
  AddPending(before, -1);
  AddPending(after, 1);
}

void DraftLedger::AddPending(const Counted& counted, int64_t sign) {
  if (!counted) return;
  const SpendingRows rows = {
      {counted->key, {sign * counted->count.jobs, sign * counted->count.micros}}};
  for (const TotalChange& change : ChangesOfTotals(rows))
    pending_[{change.subject, change.measure}][change.quarter] += change.amount;
}

int64_t DraftLedger::PendingIn(const TotalKey& key) const {
  const auto found = pending_.find({key.subject, key.measure});
  if (found == pending_.end()) return 0;
  int64_t amount = 0;
  for (auto it = found->second.lower_bound(key.start);
       it != found->second.end() && it->first < key.end; ++it)
    amount += it->second;
  return amount;
}

absl::Status DraftLedger::LookUp(const std::vector<TotalKey>& keys) {
  std::vector<TotalKey> unknown;
  for (const TotalKey& key : keys)
    if (!stored_.contains(key)) unknown.push_back(key);
  if (unknown.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto found, store_.FindTotals(unknown));
  for (size_t i = 0; i < unknown.size(); ++i) {
    const TotalKey& key = unknown[i];
    if (found[i]) {
      stored_[key] = *found[i];
      continue;
    }
    ASSIGN_OR_RETURN(const SpendingRows rows,
                     store_.ReadSpending({.start = key.start, .end = key.end}));
    stored_[key] = new_totals_[key] = AmountIn(key, rows);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> DraftLedger::TotalsOf(const std::vector<TotalKey>& keys) {
  RETURN_IF_ERROR(LookUp(keys));
  if (!keeps_pending_) {
    keeps_pending_ = true;
    for (const auto& [id, submission] : submissions_)
      NotePending(submission.before_.counted(), submission.after_.counted());
  }
  std::vector<int64_t> totals;
  totals.reserve(keys.size());
  for (const TotalKey& key : keys) totals.push_back(stored_.at(key) + PendingIn(key));
  return totals;
}

SpendingRows DraftLedger::Changes() const {
  SpendingRows changes;
  for (const auto& [id, submission] : submissions_) {
    const Counted& before = submission.before_.counted();
    const Counted& after = submission.after_.counted();
    if (before == after) continue;
    if (before) changes[before->key] += {-before->count.jobs, -before->count.micros};
    if (after) changes[after->key] += after->count;
  }
  std::erase_if(changes, [](const auto& row) { return row.second.empty(); });
  return changes;
}

}  // namespace finetune
