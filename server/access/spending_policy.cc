#include "server/access/spending_policy.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"

namespace finetune {
namespace {

constexpr char kDefaultUnit[] = "credits";
constexpr int64_t kMaxLimit = 1'000'000'000'000'000'000;
constexpr int64_t kMaxSteps = 1'000'000'000;

template <typename... Words>
absl::Status Wrong(const Words&... words) {
  return absl::InvalidArgumentError(absl::StrCat(words...));
}

// 1 to `most` letters, digits and `more`.
bool IsWord(const std::string& word, size_t most, absl::string_view more) {
  return !word.empty() && word.size() <= most &&
         std::all_of(word.begin(), word.end(), [more](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  absl::StrContains(more, absl::string_view(&c, 1));
         });
}

bool IsLabelKey(const std::string& key) { return IsWord(key, 317, "-_./"); }
bool IsLabelValue(const std::string& value) { return IsWord(value, 63, "-_."); }

absl::StatusOr<Price> ReadPrice(const policy::Price& entry) {
  Price price{.base_model = entry.base_model(),
              .train_type = entry.train_type(),
              .machine_type = entry.machine_type(),
              .base_micros = entry.base_micros(),
              .per_step_micros = entry.per_step_micros()};
  if (price.base_micros < 0 || price.base_micros > kMaxJobMicros || price.per_step_micros < 0 ||
      price.per_step_micros > kMaxJobMicros)
    return Wrong("base_micros and per_step_micros must be 0 to ", kMaxJobMicros);
  if (!entry.steps_parameter().empty()) price.steps_parameter = entry.steps_parameter();
  if (entry.has_default_steps()) price.default_steps = entry.default_steps();
  if (price.per_step_micros == 0 && (price.default_steps || !entry.steps_parameter().empty()))
    return Wrong("default_steps and steps_parameter go with per_step_micros");
  if (price.default_steps && (*price.default_steps < 1 || *price.default_steps > kMaxSteps))
    return Wrong("default_steps must be 1 to ", kMaxSteps);
  if (entry.has_valid_from()) price.valid_from = FromProto(entry.valid_from());
  if (entry.has_valid_until()) price.valid_until = FromProto(entry.valid_until());
  if (price.valid_from >= price.valid_until) return Wrong("valid_from must be before valid_until");
  return price;
}

// Whether `earlier` already covers everything that `price` is for.
bool Hides(const Price& earlier, const Price& price) {
  const auto covers = [](const std::string& all, const std::string& one) {
    return all.empty() || all == one;
  };
  return covers(earlier.base_model, price.base_model) &&
         covers(earlier.train_type, price.train_type) &&
         covers(earlier.machine_type, price.machine_type) &&
         earlier.valid_from <= price.valid_from && earlier.valid_until >= price.valid_until;
}

absl::Status ReadPrices(const policy::Policy& policy, std::vector<Price>& prices) {
  for (int i = 0; i < policy.prices_size(); ++i) {
    const std::string where = absl::StrCat("prices[", i, "]: ");
    auto price = ReadPrice(policy.prices(i));
    if (!price.ok()) return Wrong(where, price.status().message());
    for (size_t earlier = 0; earlier < prices.size(); ++earlier)
      if (Hides(prices[earlier], *price))
        return Wrong(where, "never fits a job, because prices[", earlier, "] comes first");
    prices.push_back(*std::move(price));
  }
  return absl::OkStatus();
}

absl::Status ReadSubject(const policy::Budget& entry, const policy::Policy& policy,
                         Budget& budget) {
  const auto& callers = policy.callers();
  switch (entry.subject_case()) {
    case policy::Budget::kAccount:
      budget.of = Budget::Of::kAccount;
      if (!entry.account()) return Wrong("account is true, or is left out");
      return absl::OkStatus();
    case policy::Budget::kCaller:
      budget.of = Budget::Of::kCaller;
      budget.subject = entry.caller();
      if (std::none_of(callers.begin(), callers.end(),
                       [&](const auto& caller) { return caller.name() == entry.caller(); }))
        return Wrong("there is no caller '", entry.caller(), "'");
      return absl::OkStatus();
    case policy::Budget::kTeam:
      budget.of = Budget::Of::kTeam;
      budget.subject = entry.team();
      if (entry.team().empty() ||
          std::none_of(callers.begin(), callers.end(),
                       [&](const auto& caller) { return caller.team() == entry.team(); }))
        return Wrong("no caller is of the team '", entry.team(), "'");
      return absl::OkStatus();
    case policy::Budget::kLabel:
      budget.of = Budget::Of::kLabel;
      budget.subject = entry.label().key();
      budget.value = entry.label().value();
      if (!IsLabelKey(budget.subject)) return Wrong("label.key is no label's key");
      if (!budget.value.empty() && !IsLabelValue(budget.value))
        return Wrong("label.value is no label's value");
      return absl::OkStatus();
    case policy::Budget::SUBJECT_NOT_SET:
      break;
  }
  return Wrong("needs one of account, caller, team and label");
}

absl::Status ReadPeriod(const policy::Budget& entry, Budget& budget) {
  switch (entry.period()) {
    case policy::Budget::DAY:
      budget.period = PeriodKind::kDay;
      break;
    case policy::Budget::WEEK:
      budget.period = PeriodKind::kWeek;
      break;
    case policy::Budget::MONTH:
      budget.period = PeriodKind::kMonth;
      break;
    case policy::Budget::AT_ONCE:
      if (!entry.time_zone().empty() || entry.has_micros())
        return Wrong("AT_ONCE goes with jobs, and without a time_zone");
      return absl::OkStatus();
    default:
      return Wrong("period must be DAY, WEEK, MONTH or AT_ONCE");
  }
  const auto zone = FindZone(entry.time_zone().empty() ? "UTC" : entry.time_zone());
  if (!zone) return Wrong("there is no time zone '", entry.time_zone(), "' on this machine");
  budget.zone = *zone;
  return absl::OkStatus();
}

absl::StatusOr<Budget> ReadBudget(const policy::Budget& entry, const policy::Policy& policy) {
  Budget budget;
  budget.name = entry.name();
  if (!IsWord(budget.name, 64, "-_.")) return Wrong("name must be 1 to 64 letters, digits and -_.");
  RETURN_IF_ERROR(ReadSubject(entry, policy, budget));
  RETURN_IF_ERROR(ReadPeriod(entry, budget));
  if (entry.has_jobs() == entry.has_micros()) return Wrong("needs jobs or micros, and not both");
  budget.money = entry.has_micros();
  budget.limit = budget.money ? entry.micros() : entry.jobs();
  if (budget.limit < 0 || budget.limit > kMaxLimit)
    return Wrong("jobs and micros must be 0 to ", kMaxLimit);
  if (budget.money && policy.prices().empty())
    return Wrong("is one of money, and there are no prices");
  budget.soft = entry.soft();
  budget.warn_at_percent = entry.warn_at_percent();
  if (budget.warn_at_percent < 0 || budget.warn_at_percent > 100)
    return Wrong("warn_at_percent must be 1 to 100");
  budget.allow_unpriced = entry.allow_unpriced();
  if (budget.allow_unpriced && !budget.money) return Wrong("allow_unpriced goes with micros");
  return budget;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SpendingRules>> ReadSpendingRules(
    const policy::Policy& policy) {
  auto rules = std::make_shared<SpendingRules>();
  rules->unit = policy.unit().empty() ? kDefaultUnit : policy.unit();
  if (!IsWord(rules->unit, 16, "")) return Wrong("unit must be 1 to 16 letters and digits");
  RETURN_IF_ERROR(ReadPrices(policy, rules->prices));
  std::set<std::string> names;
  for (int i = 0; i < policy.budgets_size(); ++i) {
    auto budget = ReadBudget(policy.budgets(i), policy);
    if (budget.ok() && !names.insert(budget->name).second)
      budget = Wrong("the name '", budget->name, "' is there twice");
    if (!budget.ok()) return Wrong("budgets[", i, "]: ", budget.status().message());
    if (budget->of == Budget::Of::kLabel) rules->guarded_labels.insert(budget->subject);
    rules->budgets.push_back(*std::move(budget));
  }
  for (const policy::Caller& caller : policy.callers())
    for (const policy::LabelRule& rule : caller.labels()) rules->guarded_labels.insert(rule.key());
  return rules;
}

absl::StatusOr<std::shared_ptr<const Spender>> ReadSpender(
    const policy::Caller& caller, const std::shared_ptr<const SpendingRules>& rules) {
  auto spender = std::make_shared<Spender>();
  spender->rules = rules;
  spender->team = caller.team();
  if (!caller.team().empty() && !IsWord(caller.team(), 128, "-_.:/@"))
    return Wrong("team must be up to 128 letters, digits and -_.:/@");
  std::set<std::string> keys;
  for (const policy::LabelRule& entry : caller.labels()) {
    if (!IsLabelKey(entry.key())) return Wrong("labels: '", entry.key(), "' is no label's key");
    if (!keys.insert(entry.key()).second)
      return Wrong("labels: the key '", entry.key(), "' is there twice");
    for (const std::string& value : entry.values())
      if (!IsLabelValue(value)) return Wrong("labels: '", value, "' is no label's value");
    spender->labels.push_back({.key = entry.key(),
                               .values = {entry.values().begin(), entry.values().end()},
                               .required = entry.required()});
  }
  return spender;
}

}  // namespace finetune
