#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/base/error.h"

namespace finetune {

// No job costs more, in millionths of the unit: sums of a year's jobs stay below 2^63.
inline constexpr int64_t kMaxJobMicros = 1'000'000'000'000;

// What jobs of one kind cost; see policy.proto.
struct Price {
  // Empty: any.
  std::string base_model;
  std::string train_type;
  std::string machine_type;
  int64_t base_micros = 0;
  int64_t per_step_micros = 0;
  std::string steps_parameter = "steps";
  std::optional<int64_t> default_steps;
  absl::Time valid_from = absl::InfinitePast();
  absl::Time valid_until = absl::InfiniteFuture();
};

// What a job that is submitted at `time` costs, in millionths of the unit, by the first price that
// applies to it; nullopt if none does, or if that price depends on steps and the job names none
// that can be counted.
std::optional<int64_t> PriceOf(const std::vector<Price>& prices, const pb::FineTune& job,
                               absl::Time time);

}  // namespace finetune
