#include "client/cli/field_rows.h"

namespace finetune::cli {
namespace {

using FineTune = pb::FineTune;

struct Row {
  int number;
  const char* label;
  const char* flag;
  const char* help;
};

constexpr Row kRows[] = {
    {FineTune::kDisplayNameFieldNumber, nullptr, "--name", "Your name for the job"},
    {FineTune::kBaseModelFieldNumber, "base model", "--base-model",
     "FAST_FLUX, FLUX, FLUX_PRO, QWEN, ..."},
    {FineTune::kThemeFieldNumber, "theme", "--theme", "What is learned; FAST_FLUX: subject"},
    {FineTune::kTrainTypeFieldNumber, "train type", "--train-type",
     "LORA, for the models that take it"},
    {FineTune::kMachineTypeFieldNumber, "machine type", "--machine-type",
     "GPU class, such as NVIDIA_H100"},
    {FineTune::kInstancePromptFieldNumber, "prompt", "--prompt",
     "Instance prompt, such as 'a photo of TOK dog'"},
    {FineTune::kTriggerWordFieldNumber, "trigger word", "--trigger",
     "The word in prompts that stands for the subject"},
    {FineTune::kDataSourceUriFieldNumber, "data", "--data", "URL of the zip of training images"},
    {FineTune::kSlugFieldNumber, "slug", nullptr, nullptr},
};

}  // namespace

const std::vector<FieldRow>& FieldRows() {
  static const auto& fields = *new std::vector<FieldRow>([] {
    std::vector<FieldRow> all;
    for (const Row& row : kRows)
      all.push_back(
          {FineTune::descriptor()->FindFieldByNumber(row.number), row.label, row.flag, row.help});
    return all;
  }());
  return fields;
}

std::string TextOf(const pb::FineTune& job, const FieldRow& row) {
  return job.GetReflection()->GetString(job, row.field);
}

void SetText(const std::string& text, const FieldRow& row, pb::FineTune& job) {
  job.GetReflection()->SetString(&job, row.field, text);
}

}  // namespace finetune::cli
