#include "server/segmind/job_fields.h"

#include <google/protobuf/unknown_field_set.h>

#include "absl/container/flat_hash_set.h"

namespace finetune {
namespace {

using FineTune = pb::FineTune;

struct Row {
  int number;
  const char* upstream_name;
  bool input;
};

constexpr Row kRows[] = {
    {FineTune::kDataSourceUriFieldNumber, "data_source_path", true},
    {FineTune::kInstancePromptFieldNumber, "instance_prompt", true},
    {FineTune::kTriggerWordFieldNumber, "trigger_word", true},
    {FineTune::kBaseModelFieldNumber, "base_model", true},
    {FineTune::kThemeFieldNumber, "theme", true},
    {FineTune::kTrainTypeFieldNumber, "train_type", true},
    {FineTune::kMachineTypeFieldNumber, "machine_type", true},
    {FineTune::kSlugFieldNumber, "slug", false},
    {FineTune::kSourceTypeFieldNumber, "source_type", false},
};

// What callers set that Segmind takes in another form, or not at all.
constexpr int kOtherInput[] = {
    FineTune::kDisplayNameFieldNumber,
    FineTune::kParametersFieldNumber,
    FineTune::kVisibilityFieldNumber,
    FineTune::kLabelsFieldNumber,
};

const std::vector<const google::protobuf::FieldDescriptor*>& OutputFields() {
  static const auto& fields = *new std::vector<const google::protobuf::FieldDescriptor*>([] {
    absl::flat_hash_set<int> input(std::begin(kOtherInput), std::end(kOtherInput));
    for (const Row& row : kRows)
      if (row.input) input.insert(row.number);
    std::vector<const google::protobuf::FieldDescriptor*> output;
    const auto* type = FineTune::descriptor();
    for (int i = 0; i < type->field_count(); ++i)
      if (!input.contains(type->field(i)->number())) output.push_back(type->field(i));
    return output;
  }());
  return fields;
}

}  // namespace

const std::vector<JobField>& JobFields() {
  static const auto& fields = *new std::vector<JobField>([] {
    std::vector<JobField> all;
    for (const Row& row : kRows)
      all.push_back(
          {FineTune::descriptor()->FindFieldByNumber(row.number), row.upstream_name, row.input});
    return all;
  }());
  return fields;
}

pb::FineTune InputOf(const pb::FineTune& fine_tune) {
  pb::FineTune input = fine_tune;
  const auto* reflection = input.GetReflection();
  for (const auto* field : OutputFields()) reflection->ClearField(&input, field);
  reflection->MutableUnknownFields(&input)->Clear();
  return input;
}

}  // namespace finetune
