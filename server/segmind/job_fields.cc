#include "server/segmind/job_fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <vector>

#include "absl/container/flat_hash_set.h"

namespace finetune {
namespace {

using FineTune = pb::FineTune;

constexpr TextMember Member(const std::string& (FineTune::*get)() const,
                            std::string* (FineTune::*edit)()) {
  return {get, edit};
}
template <typename T>
constexpr ScalarMember<T> Member(T (FineTune::*get)() const, void (FineTune::*set)(T)) {
  return {get, set};
}

// The last column has the getter, and what edits a text or sets any other value.
constexpr JobField kFields[] = {
    {FineTune::kDataSourceUriFieldNumber, "data_source_path", true,
     Member(&FineTune::data_source_uri, &FineTune::mutable_data_source_uri)},
    {FineTune::kInstancePromptFieldNumber, "instance_prompt", true,
     Member(&FineTune::instance_prompt, &FineTune::mutable_instance_prompt)},
    {FineTune::kTriggerWordFieldNumber, "trigger_word", true,
     Member(&FineTune::trigger_word, &FineTune::mutable_trigger_word)},
    {FineTune::kBaseModelFieldNumber, "base_model", true,
     Member(&FineTune::base_model, &FineTune::mutable_base_model)},
    {FineTune::kThemeFieldNumber, "theme", true,
     Member(&FineTune::theme, &FineTune::mutable_theme)},
    {FineTune::kTrainTypeFieldNumber, "train_type", true,
     Member(&FineTune::train_type, &FineTune::mutable_train_type)},
    {FineTune::kMachineTypeFieldNumber, "machine_type", true,
     Member(&FineTune::machine_type, &FineTune::mutable_machine_type)},
    {FineTune::kSlugFieldNumber, "slug", false, Member(&FineTune::slug, &FineTune::mutable_slug)},
    {FineTune::kSourceTypeFieldNumber, "source_type", false,
     Member(&FineTune::source_type, &FineTune::mutable_source_type)},
};

// Fields that callers set and that Segmind takes in another form, or not at all.
constexpr int kOtherInput[] = {
    FineTune::kDisplayNameFieldNumber,
    FineTune::kParametersFieldNumber,
    FineTune::kVisibilityFieldNumber,
    FineTune::kLabelsFieldNumber,
};

const std::vector<const google::protobuf::FieldDescriptor*>& OutputFields() {
  static const auto& fields = *new std::vector<const google::protobuf::FieldDescriptor*>([] {
    absl::flat_hash_set<int> input(std::begin(kOtherInput), std::end(kOtherInput));
    for (const JobField& row : kFields)
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

std::span<const JobField> JobFields() { return kFields; }

pb::FineTune InputOf(const pb::FineTune& fine_tune) {
  pb::FineTune input = fine_tune;
  const auto* reflection = input.GetReflection();
  for (const auto* field : OutputFields()) reflection->ClearField(&input, field);
  reflection->MutableUnknownFields(&input)->Clear();
  return input;
}

}  // namespace finetune
