#include "server/segmind/upstream_job.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace finetune {
namespace {

using pb::FineTune;

// UPSTREAM.md, "Statuses".
const absl::flat_hash_map<absl::string_view, FineTune::State>& States() {
  static const auto& states = *new absl::flat_hash_map<absl::string_view, FineTune::State>{
      {"REQUESTED", FineTune::QUEUED},
      {"QUEUED", FineTune::QUEUED},
      {"RETRIED", FineTune::QUEUED},
      {"DATA_PROCESSING", FineTune::PREPARING},
      {"TRAINING_INITIATED", FineTune::TRAINING},
      {"TRAINING", FineTune::TRAINING},
      {"TRAINING_COMPLETED", FineTune::TRAINED},
      {"INFERENCE_QUEUED", FineTune::DEPLOYING},
      {"DEPLOYING", FineTune::DEPLOYING},
      {"AVAILABLE", FineTune::AVAILABLE},
      {"FAILED", FineTune::FAILED},
  };
  return states;
}

struct FailureWords {
  absl::string_view words;
  pb::Failure::Reason reason;
};

// In order: "GPU overloaded, try with smaller dataset" is about memory, not about the dataset.
constexpr FailureWords kFailures[] = {
    {"overloaded", pb::Failure::OUT_OF_MEMORY},
    {"out of memory", pb::Failure::OUT_OF_MEMORY},
    {"outofmemory", pb::Failure::OUT_OF_MEMORY},
    {"cuda", pb::Failure::OUT_OF_MEMORY},
    {"download", pb::Failure::DATASET_UNREACHABLE},
    {"unreachable", pb::Failure::DATASET_UNREACHABLE},
    {"dataset", pb::Failure::DATASET_INVALID},
    {"zip", pb::Failure::DATASET_INVALID},
    {"image", pb::Failure::DATASET_INVALID},
    {"internal", pb::Failure::UPSTREAM_INTERNAL},
};

}  // namespace

FineTune::State StateOf(std::string_view upstream_status) {
  std::string word(absl::StripAsciiWhitespace(
      absl::string_view(upstream_status.data(), upstream_status.size())));
  absl::AsciiStrToUpper(&word);
  for (char& c : word)
    if (c == ' ' || c == '-') c = '_';
  const auto found = States().find(word);
  return found == States().end() ? FineTune::STATE_UNSPECIFIED : found->second;
}

bool IsTerminal(FineTune::State state) {
  return state == FineTune::AVAILABLE || state == FineTune::FAILED || state == FineTune::LOST;
}

pb::Failure::Reason FailureReasonOf(std::string_view error_message) {
  const std::string message =
      absl::AsciiStrToLower(absl::string_view(error_message.data(), error_message.size()));
  for (const FailureWords& failure : kFailures)
    if (absl::StrContains(message, failure.words)) return failure.reason;
  return pb::Failure::REASON_UNSPECIFIED;
}

}  // namespace finetune
