#include "server/segmind/upstream_job.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace finetune {
namespace {

TEST(State, IsKnownForEveryWordInAnyCase) {
  const std::vector<std::pair<const char*, pb::FineTune::State>> words = {
      {"REQUESTED", pb::FineTune::QUEUED},
      {"QUEUED", pb::FineTune::QUEUED},
      {"RETRIED", pb::FineTune::QUEUED},
      {"DATA_PROCESSING", pb::FineTune::PREPARING},
      {"TRAINING_INITIATED", pb::FineTune::TRAINING},
      {"TRAINING", pb::FineTune::TRAINING},
      {"TRAINING_COMPLETED", pb::FineTune::TRAINED},
      {"INFERENCE_QUEUED", pb::FineTune::DEPLOYING},
      {"DEPLOYING", pb::FineTune::DEPLOYING},
      {"AVAILABLE", pb::FineTune::AVAILABLE},
      {"FAILED", pb::FineTune::FAILED},
      {"available", pb::FineTune::AVAILABLE},
      {" Training Completed ", pb::FineTune::TRAINED},
      {"PURRING", pb::FineTune::STATE_UNSPECIFIED},
      {"", pb::FineTune::STATE_UNSPECIFIED},
  };
  for (const auto& [word, state] : words) EXPECT_EQ(StateOf(word), state) << word;
}

TEST(State, IsAnEndInWhateverWordsAnEndIsSaid) {
  const std::vector<std::pair<pb::FineTune::State, std::vector<const char*>>> families = {
      {pb::FineTune::CANCELLED,
       {"CANCELLED", "canceled", "Stopped", "ABORTED", "terminated", "KILLED", "CANCELLED_BY_USER",
        "job-cancelled", "userCancelled", "Training Aborted"}},
      {pb::FineTune::FAILED,
       {"ERROR", "failure", "Expired", "TIMED_OUT", "timedOut", "timeout", "REJECTED",
        "TRAINING_FAILED", "data processing error", "failed-oom", "Deployment.Failed"}},
      {pb::FineTune::AVAILABLE,
       {"COMPLETED", "succeeded", "Success", "READY", "Deployed", "LIVE", "MODEL_READY",
        "job completed", "fine-tune: done"}},
      {pb::FineTune::TRAINED, {"TrainingCompleted", "training-complete", "TRAINING SUCCEEDED"}},
      // Words that only look like an end.
      {pb::FineTune::STATE_UNSPECIFIED,
       {"RETRYING_AFTER_ERROR", "NOT_FAILED", "WILL_BE_CANCELLED", "ERROR_RETRY", "UNSTOPPED",
        "DATA_PROCESSING_COMPLETED", "PAUSED", "errors", "_", "\xff"}}};
  for (const auto& [state, words] : families)
    for (const char* word : words) EXPECT_EQ(StateOf(word), state) << word;
}

TEST(State, IsTerminalWhereNothingMoreIsExpected) {
  for (auto state :
       {pb::FineTune::AVAILABLE, pb::FineTune::FAILED, pb::FineTune::CANCELLED, pb::FineTune::LOST})
    EXPECT_TRUE(IsTerminal(state));
  for (auto state : {pb::FineTune::STATE_UNSPECIFIED, pb::FineTune::SUBMIT_UNKNOWN,
                     pb::FineTune::QUEUED, pb::FineTune::TRAINED, pb::FineTune::DEPLOYING})
    EXPECT_FALSE(IsTerminal(state));
}

TEST(FailureReason, IsFoundInTheWordsThatWereSeen) {
  EXPECT_EQ(FailureReasonOf("Download failed"), pb::Failure::DATASET_UNREACHABLE);
  EXPECT_EQ(FailureReasonOf("GPU overloaded, try with smaller dataset"),
            pb::Failure::OUT_OF_MEMORY);
  EXPECT_EQ(FailureReasonOf("Looks like empty dataset. Please do not create subfolders, only zip "
                            "the images"),
            pb::Failure::DATASET_INVALID);
  EXPECT_EQ(FailureReasonOf("Internal Server Error"), pb::Failure::UPSTREAM_INTERNAL);
  EXPECT_EQ(FailureReasonOf("something new"), pb::Failure::REASON_UNSPECIFIED);
}

TEST(JobId, IsNothingThatAPathATerminalOrATextTakesForSomethingElse) {
  for (const char* id : {"a", "uuid-1", "a.b", "..a", "a/b", "\xc3\xa9"})
    EXPECT_TRUE(CanNameJob(id)) << id;
  for (const std::string& id :
       {std::string(), std::string("."), std::string("..."), std::string("a b"), std::string("a\n"),
        std::string("a\0b", 3), std::string("\x1b[2J"), std::string("a\x7f")})
    EXPECT_FALSE(CanNameJob(id)) << id;
}

TEST(FailureReason, IsFoundInAnyCaseAndByTheFirstThatFits) {
  EXPECT_EQ(FailureReasonOf("CUDA out of memory while reading the dataset"),
            pb::Failure::OUT_OF_MEMORY);
  EXPECT_EQ(FailureReasonOf("Dataset UNREACHABLE"), pb::Failure::DATASET_UNREACHABLE);
  EXPECT_EQ(FailureReasonOf(""), pb::Failure::REASON_UNSPECIFIED);
}

}  // namespace
}  // namespace finetune
