#include "client/cpp/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "client/cpp/local_file.h"
#include "client/cpp/states.h"
#include "client/cpp/transfer.h"
#include "client/cpp/uuid.h"
#include "client/cpp/weights_check.h"
#include "server/base/error_details.h"
#include "tests/client/fake_service.h"
#include "tests/client/weights.h"

namespace finetune {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class Calls : public testing::Test {
 protected:
  Calls() {
    options_.channel.target = service_.target();
    options_.backoff = {.initial = absl::Milliseconds(1), .maximum = absl::Milliseconds(5)};
    folder_ = std::filesystem::temp_directory_path() / ("client_test." + MakeRequestId());
    std::filesystem::create_directory(folder_);
  }
  ~Calls() override { std::filesystem::remove_all(folder_); }

  FineTuneClient& client() {
    if (client_ == nullptr) client_ = *FineTuneClient::Create(options_);
    return *client_;
  }
  std::string Path(const std::string& name) const { return folder_ / name; }

  FakeService service_;
  ClientOptions options_;
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
  pb::CreateFineTuneRequest request;
  request.mutable_fine_tune()->set_display_name("dogs");
  auto job = client().CreateFineTune(request);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto creates = service_.creates();
  EXPECT_GE(creates.size(), 8u);
  for (const auto& create : creates) EXPECT_EQ(create.request_id(), creates.front().request_id());
  EXPECT_THAT(creates.front().request_id(),
              MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_EQ(job->name(), "fineTunes/new1");
}

TEST_F(Calls, CreateDoesNotRepeatARefusal) {
  service_.FailCalls(FakeError(grpc::StatusCode::FAILED_PRECONDITION, "retired",
                               pb::ErrorReason::UPSTREAM_RETIRED));
  EXPECT_EQ(ErrorReasonOf(client().CreateFineTune({}).status()), pb::ErrorReason::UPSTREAM_RETIRED);
  EXPECT_EQ(service_.creates().size(), 1u);
}

TEST_F(Calls, UpdateWithAnEtagIsSentOnce) {
  service_.FailCalls({grpc::StatusCode::UNAVAILABLE, "away"});
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_etag("e");
  EXPECT_TRUE(absl::IsUnavailable(client().UpdateFineTune(request).status()));
  EXPECT_EQ(service_.updates().size(), 1u);
}

TEST_F(Calls, WhatAServerThatGoesCancelsIsSentAgainEvenAnUpdate) {
  service_.FailCalls({grpc::StatusCode::CANCELLED, "CANCELLED"});
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_etag("e");
  EXPECT_TRUE(absl::IsCancelled(client().UpdateFineTune(request).status()));
  EXPECT_EQ(service_.updates().size(), 5u);
}

TEST(OutOfReach, CallsWaitForTheirDeadlineUnlessToldNotTo) {
  ClientOptions options;
  options.channel.target = "unix:/nonexistent/socket";
  auto patient = FineTuneClient::Create(options);
  ASSERT_TRUE(patient.ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      (*patient)->GetFineTune("fineTunes/a", {.timeout = absl::Milliseconds(100)}).status()));
  options.wait_for_ready = false;
  auto hasty = FineTuneClient::Create(options);
  ASSERT_TRUE(hasty.ok());
  EXPECT_TRUE(absl::IsUnavailable((*hasty)->GetFineTune("fineTunes/a").status()));
}

TEST_F(Calls, FailuresKeepTheirDetails) {
  rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(7);
  rpc::BadRequest bad;
  bad.add_field_violations()->set_field("fine_tune.theme");
  service_.FailCalls(FakeError(grpc::StatusCode::INVALID_ARGUMENT, "no",
                               pb::ErrorReason::INVALID_FIELD, {&retry, &bad}));
  const absl::Status status = client().GetFineTune("fineTunes/a").status();
  EXPECT_EQ(ErrorReasonOf(status), pb::ErrorReason::INVALID_FIELD);
  EXPECT_EQ(RetryDelayOf(status), absl::Seconds(7));
  const auto request = DetailOf<rpc::BadRequest>(status);
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->field_violations(0).field(), "fine_tune.theme");
  EXPECT_FALSE(DetailOf<rpc::QuotaFailure>(status).has_value());
}

TEST_F(Calls, WaitUntilTellsTheJobOrThatTheTimeIsUp) {
  service_.Put("a", pb::FineTune::TRAINING);
  auto response =
      client().WaitUntil("fineTunes/a", pb::FineTune::AVAILABLE, absl::Milliseconds(50));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_FALSE(response->done());
  service_.Put("a", pb::FineTune::AVAILABLE);
  response = client().WaitUntil("fineTunes/a", pb::FineTune::AVAILABLE, absl::Seconds(20));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->done());
}

TEST_F(Calls, TheTokenFileIsReadAgainWhenItChanges) {
  std::ofstream(Path("token")) << "first\n";
  options_.channel.token_file = Path("token");
  EXPECT_FALSE(client().GetFineTune("fineTunes/a").ok());
  EXPECT_EQ(service_.last_authorization(), "Bearer first");
  std::ofstream(Path("token")) << "the second\n";
  EXPECT_FALSE(client().GetFineTune("fineTunes/a").ok());
  EXPECT_EQ(service_.last_authorization(), "Bearer first") << "a space is no part of a token";
  std::ofstream(Path("token")) << "second-one\n";
  EXPECT_FALSE(client().GetFineTune("fineTunes/a").ok());
  EXPECT_EQ(service_.last_authorization(), "Bearer second-one");
}

TEST_F(Calls, OptionsThatCannotWorkAreRefusedAtOnce) {
  std::ofstream(Path("token")) << "t";
  options_.channel.token_file = Path("token");
  options_.channel.target = "gateway.example:50051";
  EXPECT_THAT(std::string(FineTuneClient::Create(options_).status().message()),
              HasSubstr("without encryption"));
  options_.channel.token_file = Path("missing");
  EXPECT_THAT(std::string(FineTuneClient::Create(options_).status().message()),
              HasSubstr("cannot read"));
  options_.channel.token_file.clear();
  options_.channel.tls_cert_file = Path("token");
  EXPECT_THAT(std::string(FineTuneClient::Create(options_).status().message()),
              HasSubstr("needs its key"));
}

TEST_F(Calls, FilesThatHoldSomethingElseAreRefusedAtOnce) {
  const auto complaint = [&](const std::string& content, std::string ChannelOptions::*file) {
    std::ofstream(Path("file"), std::ios::trunc) << content;
    options_.channel = {.target = options_.channel.target};
    options_.channel.*file = Path("file");
    if (file == &ChannelOptions::tls_key_file) options_.channel.tls_cert_file = Path("file");
    return std::string(FineTuneClient::Create(options_).status().message());
  };
  EXPECT_THAT(complaint("", &ChannelOptions::token_file), HasSubstr("it is empty"));
  EXPECT_THAT(complaint(" \n", &ChannelOptions::token_file), HasSubstr("holds no token"));
  EXPECT_THAT(complaint("one\ntwo\n", &ChannelOptions::token_file), HasSubstr("the token alone"));
  EXPECT_THAT(complaint("Bearer abc", &ChannelOptions::token_file), HasSubstr("without 'Bearer'"));
  EXPECT_THAT(complaint("\xef\xbb\xbf"
                        "abc",
                        &ChannelOptions::token_file),
              HasSubstr("plain text"));
  EXPECT_THAT(complaint(std::string(8'000, 'a'), &ChannelOptions::token_file), HasSubstr("7 KiB"));
  EXPECT_EQ(complaint("abc\r\n", &ChannelOptions::token_file), "");
  EXPECT_THAT(complaint("abc", &ChannelOptions::tls_ca_file), HasSubstr("no certificate in PEM"));
  EXPECT_THAT(complaint("abc", &ChannelOptions::tls_key_file), HasSubstr("no certificate in PEM"));
  options_.channel.tls_ca_file = std::filesystem::path(Path("file")).parent_path();
  EXPECT_THAT(std::string(FineTuneClient::Create(options_).status().message()),
              HasSubstr("it is a directory"));
}

TEST_F(Calls, ADownloadThatBreaksGoesOnWhereItBroke) {
  const std::string weights = Safetensors(30'000);
  service_.SetWeights(weights, "g1", 4'000);
  TransferOptions options;
  options.backoff = {.initial = absl::Milliseconds(1)};
  auto download = DownloadWeights(client(), "fineTunes/a", Path("w"), options);
  ASSERT_TRUE(download.ok()) << download.status();
  EXPECT_EQ(download->size_bytes, static_cast<int64_t>(weights.size()));
  EXPECT_EQ(Content(Path("w")), weights);
  EXPECT_FALSE(std::filesystem::exists(Path("w.part")));
  EXPECT_FALSE(std::filesystem::exists(Path("w.part.generation")));
}

TEST_F(Calls, ADownloadLeftByAnEarlierProcessIsContinuedOnlyIfTheFileIsTheSame) {
  TransferOptions once;
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
  TransferOptions options;
  options.attempts = 3;
  options.backoff = {.initial = absl::Milliseconds(1)};
  const auto download = DownloadWeights(client(), "fineTunes/a", Path("w"), options);
  EXPECT_TRUE(absl::IsDataLoss(download.status())) << download.status();
  EXPECT_FALSE(std::filesystem::exists(Path("w")));
}

TEST_F(Calls, AFileOfThisMachineIsNoFailureOfTheGateway) {
  service_.SetWeights(Safetensors(3'000), "g1", 100'000);
  std::filesystem::create_directory(Path("w"));
  const auto download = DownloadWeights(client(), "fineTunes/a", Path("w"));
  EXPECT_TRUE(IsLocalFileError(download.status())) << download.status();
  EXPECT_TRUE(IsLocalFileError(UploadDataset(client(), Path("none"), true).status()));
}

TEST_F(Calls, AnUploadSendsTheFileWithItsDigest) {
  std::ofstream(Path("d.zip")) << std::string(3 << 20, 'z');
  auto dataset = UploadDataset(client(), Path("d.zip"), true);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(service_.uploaded().size(), 3u << 20);
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
