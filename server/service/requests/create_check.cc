#include "server/service/requests/create_check.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "server/base/uuid.h"
#include "server/segmind/job_fields.h"
#include "server/service/requests/field_rules.h"
#include "server/service/requests/violations.h"

namespace finetune {
namespace {

constexpr int kMaxSteps = 100'000;
constexpr size_t kMaxExtraBytes = 16 << 10;
constexpr int kMaxExtraDepth = 8;
constexpr int kMaxIntegers = 64;
// From here on a double may stand for a whole number that it cannot hold, such as 2^53 + 1, so it
// is not known what the caller meant.
constexpr double kFirstInexact = 9007199254740992.0;

void Require(Violations& violations, const std::string& field, const std::string& value,
             const std::string& wrong) {
  if (absl::StripAsciiWhitespace(value).empty())
    violations.Add(field, "is required");
  else if (!wrong.empty())
    violations.Add(field, wrong);
}

void Allow(Violations& violations, const std::string& field, const std::string& wrong) {
  if (!wrong.empty()) violations.Add(field, wrong);
}

// What is wrong with the value; empty if nothing.
absl::string_view WrongWithValue(const google::protobuf::Value& value, int depth) {
  if (depth > kMaxExtraDepth) return "nests too deep: at most 8 levels are taken";
  absl::string_view wrong;
  switch (value.kind_case()) {
    case google::protobuf::Value::kNumberValue:
      if (!std::isfinite(value.number_value())) return "must hold only finite numbers";
      if (std::abs(value.number_value()) >= kFirstInexact)
        return "must hold no whole number beyond 2^53: send it in parameters.integers, where it is "
               "exact";
      return "";
    case google::protobuf::Value::kStructValue:
      for (const auto& [name, field] : value.struct_value().fields())
        if (wrong.empty()) wrong = WrongWithValue(field, depth + 1);
      return wrong;
    case google::protobuf::Value::kListValue:
      for (const auto& item : value.list_value().values())
        if (wrong.empty()) wrong = WrongWithValue(item, depth + 1);
      return wrong;
    case google::protobuf::Value::KIND_NOT_SET:
      return "must be set";
    default:
      return "";
  }
}

void CheckName(const std::string& field, const std::string& name, Violations& violations) {
  if (name.empty() || !WrongWithText(name, 64).empty())
    violations.Add(field, "names must be 1 to 64 characters without control characters");
  const auto* own = pb::TrainingParameters::descriptor()->FindFieldByName(name);
  if (own != nullptr && name != "extra" && name != "integers")
    violations.Add(absl::StrCat(field, ".", name),
                   absl::StrCat("has a field of its own: parameters.", name));
}

void CheckExtra(const google::protobuf::Struct& extra, Violations& violations) {
  const std::string field = "fine_tune.parameters.extra";
  if (extra.ByteSizeLong() > kMaxExtraBytes) {
    violations.Add(field, absl::StrCat("must have at most ", kMaxExtraBytes, " bytes"));
    return;
  }
  for (const auto& [name, value] : extra.fields()) {
    CheckName(field, name, violations);
    if (const absl::string_view wrong = WrongWithValue(value, 1); !wrong.empty())
      violations.Add(absl::StrCat(field, ".", name), std::string(wrong));
  }
}

void CheckIntegers(const pb::TrainingParameters& parameters, Violations& violations) {
  const std::string field = "fine_tune.parameters.integers";
  if (parameters.integers_size() > kMaxIntegers) {
    violations.Add(field, absl::StrCat("must have at most ", kMaxIntegers, " entries"));
    return;
  }
  for (const auto& [name, value] : parameters.integers()) {
    CheckName(field, name, violations);
    if (parameters.extra().fields().contains(name))
      violations.Add(absl::StrCat(field, ".", name), "stands in parameters.extra, too");
  }
}

void CheckParameters(const pb::TrainingParameters& parameters, Violations& violations) {
  const std::string prefix = "fine_tune.parameters.";
  if (parameters.has_steps() && (parameters.steps() < 1 || parameters.steps() > kMaxSteps))
    violations.Add(prefix + "steps", absl::StrCat("must be 1 to ", kMaxSteps));
  if (parameters.has_learning_rate() &&
      !(std::isfinite(parameters.learning_rate()) && parameters.learning_rate() > 0))
    violations.Add(prefix + "learning_rate", "must be a finite number above 0");
  if (parameters.has_finetune_type() && parameters.finetune_type() != "LORA" &&
      parameters.finetune_type() != "FULL")
    violations.Add(prefix + "finetune_type", "must be LORA or FULL");
  CheckExtra(parameters.extra(), violations);
  CheckIntegers(parameters, violations);
}

// `may_lack_data`: a check alone may come before the dataset is uploaded.
void CheckTexts(const pb::FineTune& job, bool may_lack_data, Violations& violations) {
  Require(violations, "fine_tune.display_name", job.display_name(),
          WrongWithText(job.display_name(), 100));
  if (!may_lack_data || !job.data_source_uri().empty())
    Require(violations, "fine_tune.data_source_uri", job.data_source_uri(),
            WrongWithUrl(job.data_source_uri()));
  Require(violations, "fine_tune.instance_prompt", job.instance_prompt(),
          WrongWithText(job.instance_prompt(), 2000, /*lines=*/true));
  const bool needs_trigger = job.theme() != "KONTEXT" && job.base_model() != "KONTEXT";
  const std::string wrong_trigger = WrongWithText(job.trigger_word(), 100);
  if (needs_trigger)
    Require(violations, "fine_tune.trigger_word", job.trigger_word(), wrong_trigger);
  else
    Allow(violations, "fine_tune.trigger_word", wrong_trigger);
  Require(violations, "fine_tune.base_model", job.base_model(),
          WrongWithWord(job.base_model(), /*upper=*/true));
  Allow(violations, "fine_tune.theme", WrongWithWord(job.theme()));
  Allow(violations, "fine_tune.train_type", WrongWithWord(job.train_type()));
  Allow(violations, "fine_tune.machine_type", WrongWithWord(job.machine_type()));
}

void CheckLabels(const pb::FineTune& job, Violations& violations) {
  const std::string field = "fine_tune.labels";
  if (static_cast<size_t>(job.labels_size()) > kMaxLabels)
    violations.Add(field, absl::StrCat("at most ", kMaxLabels, " labels"));
  for (const auto& [key, value] : job.labels()) {
    Allow(violations, absl::StrCat(field, ".", key), WrongWithLabelKey(key));
    Allow(violations, absl::StrCat(field, ".", key), WrongWithLabelValue(value));
  }
}

// The job as asked for, with the defaults written out.
pb::FineTune WithDefaults(const pb::FineTune& asked) {
  pb::FineTune job = InputOf(asked);
  if (job.theme().empty() && job.base_model() == "FAST_FLUX") job.set_theme("subject");
  // An empty message says nothing and is dropped.
  if (job.parameters().extra().fields().empty()) job.mutable_parameters()->clear_extra();
  if (job.parameters().ByteSizeLong() == 0) job.clear_parameters();
  job.set_visibility(asked.visibility() == pb::FineTune::PUBLIC ? pb::FineTune::PUBLIC
                                                                : pb::FineTune::PRIVATE);
  return job;
}

}  // namespace

absl::StatusOr<pb::FineTune> CheckCreate(const pb::CreateFineTuneRequest& request) {
  Violations violations;
  const pb::FineTune& job = request.fine_tune();
  CheckTexts(job, request.validate_only(), violations);
  CheckLabels(job, violations);
  CheckParameters(job.parameters(), violations);
  if (!pb::FineTune::Visibility_IsValid(job.visibility()))
    violations.Add("fine_tune.visibility", "must be PRIVATE or PUBLIC");
  if (request.request_id().empty()) {
    if (!request.validate_only())
      violations.Add("request_id", "is required: a UUID, the same one at each repeat of the call");
  } else if (!IsUuid(request.request_id())) {
    violations.Add("request_id", "must be a UUID");
  }
  if (!violations.empty()) return violations.ToStatus();
  return WithDefaults(job);
}

}  // namespace finetune
