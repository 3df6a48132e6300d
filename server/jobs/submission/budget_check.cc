#include "server/jobs/submission/budget_check.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/micros.h"
#include "server/base/time_proto.h"
#include "server/store/ledger.h"

namespace finetune {
namespace {

// Whose jobs the budget counts, as the ledger names them; nullopt if this spender's are not among
// them.
std::optional<std::string> SubjectOf(const Budget& budget, const std::string& caller,
                                     const Spender& spender,
                                     const std::map<std::string, std::string>& labels) {
  switch (budget.of) {
    case Budget::Of::kAccount:
      return AccountSubject();
    case Budget::Of::kCaller:
      if (budget.subject != caller) return std::nullopt;
      return CallerSubject(caller);
    case Budget::Of::kTeam:
      if (budget.subject != spender.team) return std::nullopt;
      return TeamSubject(spender.team);
    case Budget::Of::kLabel:
      break;
  }
  const auto label = labels.find(budget.subject);
  if (label == labels.end() || (!budget.value.empty() && budget.value != label->second))
    return std::nullopt;
  return LabelSubject(label->first, label->second);
}

std::string Shown(const BudgetUse& use, int64_t amount) {
  return use.budget.money ? absl::StrCat(ShowMicros(amount), " ", use.unit)
                          : absl::StrCat(amount, " jobs");
}

// What a job adds to the budget.
int64_t AmountOf(const BudgetUse& use, const record::Charge& charge) {
  if (!use.budget.money) return 1;
  return charge.unit() == use.unit ? charge.micros() : 0;
}

std::string ResetOf(const BudgetUse& use) {
  return use.reset == absl::InfiniteFuture()
             ? ""
             : absl::FormatTime(absl::RFC3339_sec, use.reset, use.budget.zone);
}

// One sentence: which budget it is, what is left of it, and when it begins anew.
std::string Described(const BudgetUse& use) {
  const std::string reset = ResetOf(use);
  return absl::StrCat("budget ", use.budget.name, ": ", Shown(use, use.left()), " of ",
                      Shown(use, use.budget.limit), " left",
                      reset.empty() ? ", until a job ends" : absl::StrCat(" until ", reset));
}

absl::Status Exceeded(const BudgetUse& use, const std::string& why, absl::Time now) {
  const std::string description = Described(use);
  const absl::Duration wait = use.reset == absl::InfiniteFuture()
                                  ? absl::Minutes(1)
                                  : std::max(use.reset - now, absl::Seconds(1));
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::CLIENT_QUOTA_EXCEEDED,
               absl::StrCat(why, ": ", description))
      .Metadata("metric", absl::StrCat("budget:", use.budget.name))
      .Metadata("budget", use.budget.name)
      .Metadata("limit", absl::StrCat(use.budget.limit))
      .Metadata("left", absl::StrCat(use.left()))
      .Metadata("unit", use.budget.money ? absl::StrCat("millionths of ", use.unit) : "jobs")
      .Metadata("reset_time", ResetOf(use))
      .Quota(absl::StrCat("budget:", use.budget.name), description)
      .RetryAfter(wait);
}

// Whether the budget has no price for the job and does not let such jobs pass.
bool CannotCount(const BudgetUse& use, const record::Charge& charge) {
  return use.budget.money && !use.budget.allow_unpriced && charge.unit() != use.unit;
}

std::string Warning(const BudgetUse& use, int64_t after) {
  const std::string reset = ResetOf(use);
  return absl::StrCat("budget ", use.budget.name, ": ", Shown(use, after), " of ",
                      Shown(use, use.budget.limit), " used with this job",
                      reset.empty() ? "" : absl::StrCat("; begins anew at ", reset));
}

}  // namespace

record::Charge ChargeOf(const Spender& spender, const pb::FineTune& job, absl::Time now) {
  record::Charge charge;
  *charge.mutable_time() = ToProto(now);
  charge.set_team(spender.team);
  for (const auto& [key, value] : job.labels())
    if (spender.rules->guarded_labels.contains(key)) (*charge.mutable_labels())[key] = value;
  if (const auto price = PriceOf(spender.rules->prices, job, now)) {
    charge.set_unit(spender.rules->unit);
    charge.set_micros(*price);
  }
  return charge;
}

void ShowCharge(const record::Charge& charge, pb::FineTune& job) {
  job.clear_estimated_cost();
  job.set_unpriced(charge.unit().empty());
  if (charge.unit().empty()) return;
  job.mutable_estimated_cost()->set_unit(charge.unit());
  job.mutable_estimated_cost()->set_micros(charge.micros());
}

absl::StatusOr<std::vector<BudgetUse>> UsesOf(Draft& draft, const std::string& caller,
                                              const Spender& spender,
                                              const std::map<std::string, std::string>& labels) {
  std::vector<BudgetUse> uses;
  std::vector<TotalKey> keys;
  // The ledger has no finer time.
  const absl::Time now = StartOf(QuarterOf(draft.now()));
  for (const Budget& budget : spender.rules->budgets) {
    auto subject = SubjectOf(budget, caller, spender, labels);
    if (!subject) continue;
    TotalKey key{.subject = *std::move(subject),
                 .measure = budget.money ? UnitMeasure(spender.rules->unit) : kCountJobs};
    BudgetUse& use = uses.emplace_back(BudgetUse{.budget = budget, .unit = spender.rules->unit});
    if (budget.period) {
      const Period period = PeriodAt(*budget.period, budget.zone, now);
      key.start = QuarterOf(period.start);
      key.end = QuarterOf(period.end);
      use.reset = period.end;
    } else {
      key.measure = kCountOpen;
    }
    keys.push_back(std::move(key));
  }
  if (keys.empty()) return uses;
  auto totals = draft.TotalsOf(keys);
  if (!totals.ok()) return totals.status();
  for (size_t i = 0; i < uses.size(); ++i) uses[i].used = (*totals)[i];
  return uses;
}

BudgetVerdict JudgeCharge(const std::vector<BudgetUse>& uses, const record::Charge& charge,
                          absl::Time now) {
  BudgetVerdict verdict;
  for (const BudgetUse& use : uses) {
    const int64_t after = use.used + AmountOf(use, charge);
    const bool beyond = after > use.budget.limit;
    const bool unknown = CannotCount(use, charge);
    if ((beyond || unknown) && !use.budget.soft) {
      verdict.refusal = Exceeded(
          use, unknown ? "the job has no price, and a budget needs one" : "a budget is spent", now);
      verdict.refused_by = use.budget.name;
      verdict.warnings.clear();
      return verdict;
    }
    // Divides first, so that large limits do not overflow.
    const int64_t percent = use.budget.limit / 100 * use.budget.warn_at_percent +
                            use.budget.limit % 100 * use.budget.warn_at_percent / 100;
    if (beyond || unknown || (use.budget.warn_at_percent > 0 && after >= percent))
      verdict.warnings.emplace_back(use.budget.name, Warning(use, after));
  }
  return verdict;
}

absl::Status CheckCredits(const record::Charge& charge, std::optional<int64_t> credits_left) {
  if (!credits_left) return absl::OkStatus();
  const int64_t cost = charge.unit() == kCredits ? charge.micros() : 0;
  if (*credits_left > 0 && *credits_left >= cost) return absl::OkStatus();
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED,
               absl::StrCat("Segmind's account has ", ShowMicros(*credits_left),
                            " credits left, which do not pay for this job",
                            cost > 0 ? absl::StrCat(" (", ShowMicros(cost), ")") : "",
                            "; nothing was sent"))
      .Metadata("credits_left", ShowMicros(*credits_left));
}

}  // namespace finetune
