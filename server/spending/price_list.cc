#include "server/spending/price_list.h"

#include <cmath>

namespace finetune {
namespace {

bool Fits(const Price& price, const pb::FineTune& job, absl::Time time) {
  const auto fits = [](const std::string& wanted, const std::string& is) {
    return wanted.empty() || wanted == is;
  };
  return fits(price.base_model, job.base_model()) && fits(price.train_type, job.train_type()) &&
         fits(price.machine_type, job.machine_type()) && time >= price.valid_from &&
         time < price.valid_until;
}

// The steps that the job gives; nullopt if it gives none, or no number of steps.
std::optional<int64_t> StepsOf(const Price& price, const pb::FineTune& job) {
  const pb::TrainingParameters& parameters = job.parameters();
  const std::string& name = price.steps_parameter;
  std::optional<int64_t> steps;
  bool said = false;
  if (name == "steps" && parameters.has_steps()) {
    said = true;
    steps = parameters.steps();
  } else if (const auto integer = parameters.integers().find(name);
             integer != parameters.integers().end()) {
    said = true;
    steps = integer->second;
  } else if (const auto extra = parameters.extra().fields().find(name);
             extra != parameters.extra().fields().end()) {
    said = true;
    const double number = extra->second.number_value();
    // For a value of another kind this is 0, which is no number of steps.
    if (number >= 1 && number < 1e15 && std::floor(number) == number)
      steps = static_cast<int64_t>(number);
  }
  if (!said) return price.default_steps;
  return steps && *steps > 0 ? steps : std::nullopt;
}

}  // namespace

std::optional<int64_t> PriceOf(const std::vector<Price>& prices, const pb::FineTune& job,
                               absl::Time time) {
  for (const Price& price : prices) {
    if (!Fits(price, job, time)) continue;
    if (price.per_step_micros == 0) return price.base_micros;
    const std::optional<int64_t> steps = StepsOf(price, job);
    if (!steps || *steps > (kMaxJobMicros - price.base_micros) / price.per_step_micros)
      return std::nullopt;
    return price.base_micros + *steps * price.per_step_micros;
  }
  return std::nullopt;
}

}  // namespace finetune
