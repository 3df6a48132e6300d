#include "server/jobs/submission/submission_input.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace finetune {
namespace {

TEST(SubmissionInput, IsSentWithWhatSignsItsUrlsAndKeptWithout) {
  pb::FineTune job;
  job.set_display_name("cats");
  job.set_data_source_uri("https://data.test/cats.zip?sv=1&sig=secret");
  EXPECT_EQ(SignedInputOf(job).data_source_uri(), job.data_source_uri());
  EXPECT_EQ(UnsignedInputOf(job).display_name(), "cats");
  EXPECT_EQ(UnsignedInputOf(job).data_source_uri().find("secret"), std::string::npos);
}

TEST(SubmissionInput, HasNothingThatIsNotTheCallersToSay) {
  pb::FineTune job;
  job.set_display_name("cats");
  job.set_state(pb::FineTune::FAILED);
  job.set_upstream_id("up");
  job.set_creator("mallory");
  for (const pb::FineTune& input : {SignedInputOf(job), UnsignedInputOf(job)}) {
    EXPECT_EQ(input.display_name(), "cats");
    EXPECT_EQ(input.state(), pb::FineTune::STATE_UNSPECIFIED);
    EXPECT_EQ(input.upstream_id(), "");
    EXPECT_EQ(input.creator(), "");
  }
}

TEST(SubmissionInput, IsPrivateUnlessItSaysOtherwise) {
  pb::FineTune job;
  EXPECT_EQ(SignedInputOf(job).visibility(), pb::FineTune::PRIVATE);
  job.set_visibility(pb::FineTune::PUBLIC);
  EXPECT_EQ(SignedInputOf(job).visibility(), pb::FineTune::PUBLIC);
}

TEST(SubmissionInput, FingerprintIsEqualForWhatIsAskedForAndForNothingElse) {
  pb::FineTune job;
  job.set_data_source_uri("https://h/d.zip?sig=1");
  job.set_base_model("FLUX");
  const std::string fingerprint = FingerprintOf(job);
  pb::FineTune same = job;
  same.set_data_source_uri("https://h/d.zip?sig=2");
  same.set_state(pb::FineTune::FAILED);
  same.set_visibility(pb::FineTune::PRIVATE);
  EXPECT_EQ(FingerprintOf(same), fingerprint);
  for (const auto& change : std::vector<std::function<void(pb::FineTune&)>>{
           [](auto& j) { j.set_data_source_uri("https://h/e.zip?sig=1"); },
           [](auto& j) { j.set_visibility(pb::FineTune::PUBLIC); },
           [](auto& j) { j.mutable_parameters()->set_steps(3); },
           [](auto& j) { (*j.mutable_labels())["a"] = "b"; }}) {
    pb::FineTune other = job;
    change(other);
    EXPECT_NE(FingerprintOf(other), fingerprint) << other.ShortDebugString();
  }
}

}  // namespace
}  // namespace finetune
