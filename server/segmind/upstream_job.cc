#include "server/segmind/upstream_job.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace finetune {
namespace {

using pb::FineTune;

// Segmind's words for the states, in any case and with any separators. Segmind documents those that
// the comments of FineTune.State name; the others are used by similar services, and perhaps by
// Segmind one day.
struct StateWords {
  FineTune::State state;
  std::vector<absl::string_view> words;
};

const std::vector<StateWords>& WordsOfStates() {
  static const auto& words = *new std::vector<StateWords>{
      {FineTune::QUEUED,
       {"REQUESTED", "QUEUED", "RETRIED", "RETRYING", "PENDING", "SUBMITTED", "ACCEPTED", "WAITING",
        "SCHEDULED", "ENQUEUED", "IN_QUEUE", "REQUEUED"}},
      {FineTune::PREPARING,
       {"DATA_PROCESSING", "PREPARING", "PREPROCESSING", "DATA_DOWNLOADING", "DATA_VALIDATION"}},
      {FineTune::TRAINING,
       {"TRAINING_INITIATED", "TRAINING", "TRAINING_STARTED", "TRAINING_IN_PROGRESS", "RUNNING",
        "IN_PROGRESS"}},
      {FineTune::TRAINED,
       {"TRAINING_COMPLETED", "TRAINED", "TRAINING_COMPLETE", "TRAINING_SUCCEEDED",
        "TRAINING_FINISHED", "TRAINING_DONE"}},
      {FineTune::DEPLOYING,
       {"INFERENCE_QUEUED", "DEPLOYING", "DEPLOYMENT_QUEUED", "DEPLOYMENT_STARTED",
        "INFERENCE_DEPLOYING"}},
      {FineTune::AVAILABLE,
       {"AVAILABLE", "COMPLETED", "COMPLETE", "SUCCEEDED", "SUCCESS", "SUCCESSFUL", "READY",
        "DEPLOYED", "LIVE", "FINISHED", "DONE", "INFERENCE_READY", "DEPLOYMENT_COMPLETED",
        "DEPLOYMENT_SUCCEEDED"}},
      {FineTune::FAILED, {"FAILED"}},
      {FineTune::CANCELLED, {"CANCELLED"}},
  };
  return words;
}

// Words that end a job wherever they occur: TRAINING_FAILED, CANCELLED_BY_USER.
constexpr absl::string_view kFailedWords[] = {"FAILED",  "FAILURE", "FAIL",    "ERROR",
                                              "ERRORED", "EXPIRED", "TIMEOUT", "REJECTED",
                                              "CRASHED", "REFUSED", "INVALID"};
constexpr absl::string_view kCancelledWords[] = {"CANCELLED",  "CANCELED", "STOPPED", "ABORTED",
                                                 "TERMINATED", "KILLED",   "REVOKED"};
// Words that add nothing to the one that counts: MODEL_READY.
constexpr absl::string_view kFillers[] = {"JOB",   "REQUEST",  "TASK",      "MODEL",
                                          "FINE",  "TUNE",     "TUNING",    "STATUS",
                                          "STATE", "FINETUNE", "FINETUNING"};
// Next to one of these, a word for an end may not mean one.
constexpr absl::string_view kCautions[] = {"NOT",      "NO",      "NON",        "RETRY",
                                           "RETRYING", "RETRIED", "REQUEUED",   "WILL",
                                           "AFTER",    "PENDING", "RECOVERING", "RECOVERED"};

template <size_t kSize>
bool HasOneOf(const std::vector<std::string>& words, const absl::string_view (&wanted)[kSize]) {
  return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    return std::find(std::begin(wanted), std::end(wanted), word) != std::end(wanted);
  });
}

// The words of "TRAINING_COMPLETED", "training completed" and "TrainingCompleted", in upper case.
std::vector<std::string> WordsOf(std::string_view status) {
  std::vector<std::string> words;
  bool in_word = false;
  bool was_lower = false;
  for (const char c : status) {
    const auto byte = static_cast<unsigned char>(c);
    const bool joins = in_word && !(was_lower && absl::ascii_isupper(byte));
    in_word = absl::ascii_isalnum(byte);
    was_lower = absl::ascii_islower(byte);
    if (!in_word) continue;
    if (!joins) words.emplace_back();
    words.back().push_back(absl::ascii_toupper(byte));
  }
  return words;
}

// By the words as written above, and by their letters alone.
const absl::flat_hash_map<std::string, FineTune::State>& States() {
  static const auto& states = *[] {
    auto* made = new absl::flat_hash_map<std::string, FineTune::State>;
    for (const StateWords& of_state : WordsOfStates())
      for (const absl::string_view word : of_state.words)
        (*made)[word] = (*made)[absl::StrReplaceAll(word, {{"_", ""}})] = of_state.state;
    return made;
  }();
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
  const auto usual =
      States().find(absl::string_view(upstream_status.data(), upstream_status.size()));
  if (usual != States().end()) return usual->second;
  std::vector<std::string> words = WordsOf(upstream_status);
  const auto known = [&words] {
    const auto found = States().find(absl::StrJoin(words, ""));
    return found == States().end() ? FineTune::STATE_UNSPECIFIED : found->second;
  };
  if (const auto state = known(); state != FineTune::STATE_UNSPECIFIED) return state;
  if (!HasOneOf(words, kCautions)) {
    const bool timed_out = absl::StrContains(absl::StrJoin(words, ""), "TIMEDOUT");
    if (HasOneOf(words, kCancelledWords)) return FineTune::CANCELLED;
    if (timed_out || HasOneOf(words, kFailedWords)) return FineTune::FAILED;
  }
  words.erase(std::remove_if(words.begin(), words.end(),
                             [](const std::string& word) { return HasOneOf({word}, kFillers); }),
              words.end());
  return known();
}

bool IsTerminal(FineTune::State state) {
  return state == FineTune::AVAILABLE || state == FineTune::FAILED ||
         state == FineTune::CANCELLED || state == FineTune::LOST;
}

pb::Failure::Reason FailureReasonOf(std::string_view error_message) {
  const std::string message =
      absl::AsciiStrToLower(absl::string_view(error_message.data(), error_message.size()));
  for (const FailureWords& failure : kFailures)
    if (absl::StrContains(message, failure.words)) return failure.reason;
  return pb::Failure::REASON_UNSPECIFIED;
}

bool CanNameJob(std::string_view id) {
  if (id.find_first_not_of('.') == std::string_view::npos) return false;
  return std::none_of(id.begin(), id.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; });
}

}  // namespace finetune
