#include "client/cpp/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "client/cpp/local_file.h"
#include "client/cpp/states.h"
#include "client/cpp/transfer.h"
#include "client/cpp/weights_check.h"
#include "server/base/error_details.h"
#include "server/base/uuid.h"
#include "tests/client/fake_service.h"
#include "tests/client/images.h"
#include "tests/client/weights.h"
#include "tests/dataset/zip_samples.h"

namespace finetune {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class Calls : public testing::Test {
 protected:
  Calls() {
    options_.backoff = {.initial = absl::Milliseconds(1), .maximum = absl::Milliseconds(5)};
    folder_ = std::filesystem::temp_directory_path() / ("client_test." + MakeUuid());
    std::filesystem::create_directory(folder_);
  }
  ~Calls() override { std::filesystem::remove_all(folder_); }

  FineTuneClient& client() {
    if (client_ == nullptr) client_ = *Connect(service_.target(), options_);
    return *client_;
  }
  std::string Path(const std::string& name) const { return folder_ / name; }

  FakeService service_;
  ConnectOptions options_;
  std::filesystem::path folder_;
  std::unique_ptr<FineTuneClient> client_;
};

std::string Content(const std::string& path) {
  std::stringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

TEST_F(Calls, CreateRepeatsALostAnswerWithTheSameRequestId) {
  service_.LoseAnswers(7);
  pb::FineTune dogs;
  dogs.set_display_name("dogs");
  auto job = client().Submit(dogs);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto creates = service_.creates();
  EXPECT_GE(creates.size(), 8u);
  for (const auto& create : creates) EXPECT_EQ(create.request_id(), creates.front().request_id());
  EXPECT_THAT(creates.front().request_id(),
              MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_EQ(job->fine_tune.name(), "fineTunes/new1");
  EXPECT_EQ(job->request_id, creates.front().request_id());
  EXPECT_FALSE(job->unknown());
}

TEST_F(Calls, CreateDoesNotRepeatARefusal) {
  service_.FailCalls(FakeError(grpc::StatusCode::FAILED_PRECONDITION, "retired",
                               pb::ErrorReason::UPSTREAM_RETIRED));
  EXPECT_EQ(ErrorReasonOf(client().Submit({}).status()), pb::ErrorReason::UPSTREAM_RETIRED);
  EXPECT_EQ(service_.creates().size(), 1u);
}

TEST_F(Calls, UpdateWithAnEtagIsSentOnce) {
  service_.FailCalls({grpc::StatusCode::UNAVAILABLE, "away"});
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_etag("e");
  EXPECT_TRUE(absl::IsUnavailable(client().Update(request).status()));
  EXPECT_EQ(service_.updates().size(), 1u);
}

TEST_F(Calls, WhatAServerThatGoesCancelsIsSentAgainEvenAnUpdate) {
  service_.FailCalls({grpc::StatusCode::CANCELLED, "CANCELLED"});
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_etag("e");
  EXPECT_TRUE(absl::IsCancelled(client().Update(request).status()));
  EXPECT_EQ(service_.updates().size(), 5u);
}

TEST(OutOfReach, CallsWaitForTheirDeadlineUnlessToldNotTo) {
  ConnectOptions options;
  auto patient = Connect("unix:/nonexistent/socket", options);
  ASSERT_TRUE(patient.ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      (*patient)->Get("fineTunes/a", {.timeout = absl::Milliseconds(100)}).status()));
  options.wait_for_ready = false;
  auto hasty = Connect("unix:/nonexistent/socket", options);
  ASSERT_TRUE(hasty.ok());
  EXPECT_TRUE(absl::IsUnavailable((*hasty)->Get("fineTunes/a").status()));
}

TEST_F(Calls, FailuresKeepTheirDetails) {
  rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(7);
  rpc::BadRequest bad;
  bad.add_field_violations()->set_field("fine_tune.theme");
  service_.FailCalls(FakeError(grpc::StatusCode::INVALID_ARGUMENT, "no",
                               pb::ErrorReason::INVALID_FIELD, {&retry, &bad}));
  const absl::Status status = client().Get("fineTunes/a").status();
  EXPECT_EQ(ErrorReasonOf(status), pb::ErrorReason::INVALID_FIELD);
  EXPECT_EQ(RetryDelayOf(status), absl::Seconds(7));
  const auto request = DetailOf<rpc::BadRequest>(status);
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->field_violations(0).field(), "fine_tune.theme");
  EXPECT_FALSE(DetailOf<rpc::QuotaFailure>(status).has_value());
}

TEST_F(Calls, WaitTellsTheJobOrThatTheTimeIsUp) {
  service_.Put("a", pb::FineTune::TRAINING);
  const auto late = client().Wait("fineTunes/a", pb::FineTune::AVAILABLE, absl::Milliseconds(50));
  EXPECT_TRUE(IsWaitTimeout(late.status())) << late.status();
  EXPECT_THAT(std::string(late.status().message()), HasSubstr("TRAINING"));
  service_.Put("a", pb::FineTune::AVAILABLE);
  const auto job = client().Wait("fineTunes/a");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), pb::FineTune::AVAILABLE);
}

TEST_F(Calls, WaitGoesOnBehindAServerThatShedsLoad) {
  service_.Put("a", pb::FineTune::AVAILABLE);
  rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(1'000'000);
  service_.FailCalls(FakeError(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many waits",
                               pb::ErrorReason::OVERLOADED, {&retry}),
                     3);
  EXPECT_TRUE(client().Wait("fineTunes/a").ok());
}

TEST_F(Calls, ListIsARangeOverAllPages) {
  for (int i = 0; i < 7; ++i) service_.Put("job" + std::to_string(i), pb::FineTune::QUEUED);
  std::vector<std::string> names;
  for (const absl::StatusOr<pb::FineTune>& job : client().List({.page_size = 3}))
    names.push_back(job.ok() ? job->name() : "failed");
  EXPECT_EQ(names.size(), 7u);
  EXPECT_THAT(names, testing::Not(testing::Contains("failed")));
  service_.FailCalls({grpc::StatusCode::UNAUTHENTICATED, "who are you"});
  int failures = 0;
  for (const absl::StatusOr<pb::FineTune>& job : client().List()) failures += job.ok() ? 0 : 1;
  EXPECT_EQ(failures, 1);
}

TEST_F(Calls, AFailureIsOneValueWithAllThatItCarries) {
  rpc::QuotaFailure quota;
  quota.add_violations()->set_subject("creates_per_day");
  rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(7);
  service_.FailCalls(FakeError(grpc::StatusCode::RESOURCE_EXHAUSTED, "no more today",
                               pb::ErrorReason::CLIENT_QUOTA_EXCEEDED, {&quota, &retry}));
  const Error error =
      ErrorOf(client().Submit({}, {.request_id = "abc", .timeout = absl::Seconds(5)}).status());
  EXPECT_EQ(error.code, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(error.reason, "CLIENT_QUOTA_EXCEEDED");
  EXPECT_EQ(error.request_id, "abc");
  EXPECT_EQ(error.retry_delay, absl::Seconds(7));
  ASSERT_EQ(error.quota.size(), 1u);
  EXPECT_EQ(error.quota[0].subject, "creates_per_day");
  EXPECT_FALSE(error.local);
}

TEST_F(Calls, ADownloadThatBreaksGoesOnWhereItBroke) {
  const std::string weights = Safetensors(30'000);
  service_.SetWeights(weights, "g1", 4'000);
  DownloadOptions options;
  options.backoff = {.initial = absl::Milliseconds(1)};
  auto download = DownloadWeights(client(), "fineTunes/a", Path("w"), options);
  ASSERT_TRUE(download.ok()) << download.status();
  EXPECT_EQ(download->size_bytes, static_cast<int64_t>(weights.size()));
  EXPECT_EQ(Content(Path("w")), weights);
  EXPECT_FALSE(std::filesystem::exists(Path("w.part")));
  EXPECT_FALSE(std::filesystem::exists(Path("w.part.generation")));
}

TEST_F(Calls, ADownloadLeftByAnEarlierProcessIsContinuedOnlyIfTheFileIsTheSame) {
  DownloadOptions once;
  once.attempts = 1;
  once.backoff = {.initial = absl::Milliseconds(1)};
  const std::string weights = Safetensors(5'000), others = Safetensors(6'000);
  service_.SetWeights(weights, "g1", 0);
  EXPECT_FALSE(DownloadWeights(client(), "fineTunes/a", Path("w"), once).ok());
  std::ofstream(Path("w.part")) << weights.substr(0, 2'000);
  std::ofstream(Path("w.part.generation")) << "g1";
  service_.SetWeights(weights, "g1", 100'000);
  auto download = DownloadWeights(client(), "fineTunes/a", Path("w"), once);
  ASSERT_TRUE(download.ok()) << download.status();
  EXPECT_EQ(download->resumed_bytes, 2'000);

  // A gateway that refuses another generation, and one that does not look at it.
  for (const bool refuses : {true, false}) {
    service_.RefuseOtherGenerations(refuses);
    std::ofstream(Path("v.part")) << weights.substr(0, 2'000);
    std::ofstream(Path("v.part.generation")) << "g1";
    service_.SetWeights(others, "g2", 100'000);
    download = DownloadWeights(client(), "fineTunes/a", Path("v"), {.backoff = once.backoff});
    ASSERT_TRUE(download.ok()) << download.status();
    EXPECT_EQ(download->resumed_bytes, 0);
    EXPECT_EQ(Content(Path("v")), others);
  }
}

TEST_F(Calls, WhatIsNoWeightsNeverReplacesAGoodFile) {
  std::ofstream(Path("w")) << "a good file";
  const std::string whole = Safetensors(3'000);
  for (const std::string& bytes :
       {std::string("<!DOCTYPE html><html>Sign in</html>"), std::string(R"({"error":"gone"})"),
        std::string("version https://git-lfs.github.com/spec/v1\n"), std::string(),
        whole.substr(0, 2'500), whole + "more"}) {
    service_.SetWeights(bytes, "g1", 100'000);
    const auto download = DownloadWeights(client(), "fineTunes/a", Path("w"));
    EXPECT_TRUE(IsNoWeights(download.status())) << download.status();
    EXPECT_EQ(Content(Path("w")), "a good file");
    EXPECT_FALSE(std::filesystem::exists(Path("w.part")));
    EXPECT_FALSE(std::filesystem::exists(Path("w.part.generation")));
  }
  EXPECT_TRUE(DownloadWeights(client(), "fineTunes/a", Path("w"), {.check_weights = false}).ok());
  EXPECT_EQ(Content(Path("w")), whole + "more");
}

TEST_F(Calls, BytesThatAreNotThoseOfTheWholeFilesDigestAreFetchedAgain) {
  service_.SetWeights(Safetensors(3'000), "g1", 100'000);
  service_.TellSha256(std::string(32, 'x'));
  DownloadOptions options;
  options.attempts = 3;
  options.backoff = {.initial = absl::Milliseconds(1)};
  const auto download = DownloadWeights(client(), "fineTunes/a", Path("w"), options);
  EXPECT_TRUE(absl::IsDataLoss(download.status())) << download.status();
  EXPECT_FALSE(std::filesystem::exists(Path("w")));
}

TEST_F(Calls, ADamagedChunkIsFetchedAgainAndTheRestIsKept) {
  service_.SetWeights(Safetensors(9'000), "g1", 100'000);
  service_.DamageChunks(2);
  DownloadOptions options;
  options.backoff = {.initial = absl::Milliseconds(1)};
  const auto download = DownloadWeights(client(), "fineTunes/a", Path("w"), options);
  ASSERT_TRUE(download.ok()) << download.status();
  EXPECT_EQ(Content(Path("w")), Safetensors(9'000));
}

TEST_F(Calls, WhatCannotBeTrainedWithIsNotSentUnlessForced) {
  std::ofstream(Path("d.zip")) << "a text";
  EXPECT_TRUE(absl::IsInvalidArgument(client().Upload(Path("d.zip")).status()));
  EXPECT_EQ(service_.uploaded(), "");
  EXPECT_TRUE(client().Upload(Path("d.zip"), {.force = true}).ok());
  EXPECT_EQ(service_.uploaded(), "a text");
}

TEST_F(Calls, AFileOfThisMachineIsNoFailureOfTheGateway) {
  service_.SetWeights(Safetensors(3'000), "g1", 100'000);
  std::filesystem::create_directory(Path("w"));
  const auto download = DownloadWeights(client(), "fineTunes/a", Path("w"));
  EXPECT_TRUE(IsLocalFileError(download.status())) << download.status();
  EXPECT_TRUE(IsLocalFileError(UploadDataset(client(), Path("none")).status()));
}

TEST_F(Calls, AnUploadSendsTheFileWithItsDigest) {
  const std::string zip = MakeZip({{"a.jpg", Jpeg(std::string(3 << 20, 'z'))}});
  std::ofstream(Path("d.zip")) << zip;
  auto dataset = UploadDataset(client(), Path("d.zip"), {.public_read = true});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(service_.uploaded(), zip);
  EXPECT_EQ(dataset->sha256().size(), 32u);
}

TEST(States, LaterStagesMeetEarlierWishes) {
  EXPECT_TRUE(HasReached(pb::FineTune::DEPLOYING, pb::FineTune::TRAINED));
  EXPECT_TRUE(HasReached(pb::FineTune::FAILED, pb::FineTune::FAILED));
  EXPECT_FALSE(HasReached(pb::FineTune::FAILED, pb::FineTune::TRAINED));
  EXPECT_FALSE(HasReached(pb::FineTune::TRAINING, pb::FineTune::TRAINED));
  EXPECT_FALSE(IsTerminal(static_cast<pb::FineTune::State>(77)));
}

}  // namespace
}  // namespace finetune
