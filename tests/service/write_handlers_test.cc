#include "server/service/write_handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/service/service_world.h"

namespace finetune {
namespace {

using ::testing::SizeIs;

class WriteHandlersTest : public ::testing::Test {
 protected:
  grpc::Status Get(const std::string& name, pb::FineTune* job, const std::string& who = "") {
    pb::GetFineTuneRequest request;
    request.set_name(name);
    return world_.stub->GetFineTune(Context(who).get(), request, job);
  }

  pb::UpdateFineTuneRequest LabelOf(const std::string& name, const std::string& team) {
    pb::UpdateFineTuneRequest request;
    request.mutable_fine_tune()->set_name(name);
    (*request.mutable_fine_tune()->mutable_labels())["team"] = team;
    request.mutable_update_mask()->add_paths("labels.team");
    return request;
  }

  ServiceWorld world_;
};

pb::CreateFineTuneRequest GoodCreate() {
  pb::CreateFineTuneRequest request;
  request.set_request_id(MakeUuid());
  pb::FineTune& job = *request.mutable_fine_tune();
  job.set_display_name("cats");
  job.set_data_source_uri("https://data.example/cats.zip");
  job.set_instance_prompt("a photo of TOK cat");
  job.set_trigger_word("TOK");
  job.set_base_model("FAST_FLUX");
  return request;
}

TEST_F(WriteHandlersTest, CreatesOnceForOneRequestId) {
  world_.segmind_http.Answer(
      "/finetune/request/submit", 200,
      R"({"status":"REQUESTED","name":"cats","finetune_id":"0f5c3f8a-1111-4222-8333-444455556666"})");
  auto request = GoodCreate();
  pb::FineTune first, second;
  ASSERT_TRUE(world_.stub->CreateFineTune(Context().get(), request, &first).ok());
  EXPECT_EQ(first.state(), pb::FineTune::QUEUED);
  for (char& c : *request.mutable_request_id()) c = static_cast<char>(toupper(c));
  ASSERT_TRUE(world_.stub->CreateFineTune(Context().get(), request, &second).ok());
  EXPECT_EQ(first.name(), second.name());
  EXPECT_THAT(world_.segmind_http.calls("/finetune/request/submit"), SizeIs(1));
}

TEST_F(WriteHandlersTest, ValidatesWithoutSubmitting) {
  auto request = GoodCreate();
  request.set_validate_only(true);
  pb::FineTune job;
  ASSERT_TRUE(world_.stub->CreateFineTune(Context().get(), request, &job).ok());
  EXPECT_EQ(job.name(), "");
  EXPECT_EQ(job.theme(), "subject");
  EXPECT_THAT(world_.segmind_http.calls("/finetune/request/submit"), SizeIs(0));
}

TEST_F(WriteHandlersTest, UpdatesLabelsAndKeepsEtags) {
  world_.Put("a");
  pb::FineTune job;
  ASSERT_TRUE(Get("fineTunes/a", &job).ok());
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_name("fineTunes/a");
  request.mutable_fine_tune()->set_etag(job.etag());
  (*request.mutable_fine_tune()->mutable_labels())["team"] = "search";
  request.mutable_update_mask()->add_paths("labels.team");
  ASSERT_TRUE(world_.stub->UpdateFineTune(Context().get(), request, &job).ok());
  EXPECT_EQ(job.labels().at("team"), "search");
  EXPECT_EQ(ReasonIn(world_.stub->UpdateFineTune(Context().get(), request, &job)), "ETAG_MISMATCH");
}

TEST_F(WriteHandlersTest, MakesUploadUrlsWithTheHeadersThatTheyNeed) {
  world_.segmind_http.Answer(
      "/finetune/request/upload/pre-signed-url", 200,
      R"({"presigned_url":"https://s3.example/put?X-Amz-Signature=s","s3_url":"https://s3.example/a.zip"})");
  pb::CreateUploadUrlRequest request;
  request.set_file_name("cats.zip");
  pb::UploadUrl url;
  ASSERT_TRUE(world_.stub->CreateUploadUrl(Context().get(), request, &url).ok());
  EXPECT_EQ(url.data_source_uri(), "https://s3.example/a.zip");
  EXPECT_EQ(url.required_headers().at("Content-Type"), "application/zip");
  EXPECT_FALSE(url.required_headers().contains("x-amz-acl"));
  request.set_public_read(true);
  ASSERT_TRUE(world_.stub->CreateUploadUrl(Context().get(), request, &url).ok());
  EXPECT_EQ(url.required_headers().at("x-amz-acl"), "public-read");
  for (const char* bad : {"", ".zip", "cats.tar", "../x.zip", "a/b.zip"}) {
    request.set_file_name(bad);
    EXPECT_EQ(ReasonIn(world_.stub->CreateUploadUrl(Context().get(), request, &url)),
              "INVALID_FIELD")
        << bad;
  }
}

TEST_F(WriteHandlersTest, ASubmitterChangesOnlyWhatItCreated) {
  world_.Put("a", pb::FineTune::TRAINING, "alice");
  world_.authenticator.Tell("bob", Admission{std::make_shared<const Caller>(Caller{
                                       "bob", Role::kSubmitter, /*sees_all=*/true, {}, {}})});
  pb::FineTune job;
  EXPECT_TRUE(
      world_.stub->UpdateFineTune(Context("alice").get(), LabelOf("fineTunes/a", "x"), &job).ok());
  const grpc::Status refused =
      world_.stub->UpdateFineTune(Context("bob").get(), LabelOf("fineTunes/a", "y"), &job);
  EXPECT_EQ(ReasonIn(refused), "ROLE_NOT_ALLOWED");
  // An administrator may.
  EXPECT_TRUE(world_.stub->UpdateFineTune(Context().get(), LabelOf("fineTunes/a", "z"), &job).ok());
  EXPECT_EQ(job.labels().at("team"), "z");
}

TEST_F(WriteHandlersTest, CountsLabelsAsTheyAreAfterTheChange) {
  world_.Put("a");
  pb::UpdateFineTuneRequest request;
  request.mutable_fine_tune()->set_name("fineTunes/a");
  for (int i = 0; i < 64; ++i)
    (*request.mutable_fine_tune()->mutable_labels())[absl::StrCat("k", i)] = "v";
  request.mutable_update_mask()->add_paths("labels");
  pb::FineTune job;
  ASSERT_TRUE(world_.stub->UpdateFineTune(Context().get(), request, &job).ok());
  EXPECT_EQ(
      ReasonIn(world_.stub->UpdateFineTune(Context().get(), LabelOf("fineTunes/a", "x"), &job)),
      "INVALID_FIELD");
}

TEST_F(WriteHandlersTest, SaysWhatIsNotThereToBeChanged) {
  pb::FineTune job;
  EXPECT_EQ(
      ReasonIn(world_.stub->UpdateFineTune(Context().get(), LabelOf("fineTunes/none", "x"), &job)),
      "FINE_TUNE_NOT_FOUND");
}

}  // namespace
}  // namespace finetune
