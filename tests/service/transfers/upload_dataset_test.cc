#include "server/service/transfers/upload_dataset.h"

#include "server/base/sha256.h"
#include "tests/dataset/zip_samples.h"
#include "tests/service/transfers/transfer_server.h"

namespace finetune {
namespace {

class UploadDatasetTest : public ::testing::Test {
 protected:
  using Service = pb::FineTuneService::WithRawMethod_UploadDataset<pb::FineTuneService::Service>;

  UploadDatasetTest() {
    server_.http.Script(
        200,
        R"({"presigned_url":"https://b.s3.amazonaws.com/d.zip?X-Amz-Signature=s","s3_url":"https://b.s3.amazonaws.com/d.zip"})");
    method_ = {
        .ask =
            [this](grpc::ServerContext& context, UploadMethod::Reader& reader,
                   grpc::ServerCompletionQueue& arrivals, void* tag) {
              server_.service.RequestUploadDataset(&context, &reader, &arrivals, &arrivals, tag);
            },
        .admit = [this](grpc::ServerContext& context,
                        UploadDone& done) -> absl::StatusOr<AdmittedUpload> {
          done = [this](const absl::Status& status, double messages) {
            server_.Ended();
            ending_.Note(status, messages);
          };
          if (!refusal_.ok()) return refusal_;
          return AdmittedUpload{server_.transfers, TraceContext(), nullptr, server_.Admit(context)};
        }};
    AcceptUpload(method_, *server_.queues);
    server_.Start();
  }
  ~UploadDatasetTest() override { server_.Stop(); }

  using Writer = std::unique_ptr<grpc::ClientWriter<pb::UploadDatasetRequest>>;
  Writer Begin(int64_t size) {
    Writer writer = server_.stub->UploadDataset(context_.get(), &dataset_);
    pb::UploadDatasetRequest request;
    request.mutable_spec()->set_file_name("d.zip");
    request.mutable_spec()->set_size_bytes(size);
    writer->Write(request);
    return writer;
  }
  static bool Send(Writer& writer, const std::string& bytes) {
    pb::UploadDatasetRequest request;
    request.set_chunk(bytes);
    return writer->Write(request);
  }

  WillingStorage storage_;
  TransferServer<Service> server_{storage_};
  UploadMethod method_;
  absl::Status refusal_;
  Ending ending_;
  std::unique_ptr<grpc::ClientContext> context_ = PatientContext();
  pb::Dataset dataset_;
};

TEST_F(UploadDatasetTest, PassesTheClientsBytesOnAndAnswersWithWhatTheyWere) {
  const std::string zip = MakeZip({{"a.jpg", std::string(100'000, 'x')}});
  Writer writer = Begin(static_cast<int64_t>(zip.size()));
  for (size_t at = 0; at < zip.size(); at += 40'000)
    EXPECT_TRUE(Send(writer, zip.substr(at, 40'000)));
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(storage_.stored(), zip);
  EXPECT_EQ(dataset_.sha256(), Sha256Of(zip));
  EXPECT_EQ(dataset_.image_count(), 1);
  const auto [ended, messages] = ending_.Wait();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_EQ(messages, 4) << "the spec and three chunks";
}

TEST_F(UploadDatasetTest, ARefusedCallEndsBeforeAnythingOfItIsRead) {
  refusal_ = absl::PermissionDeniedError("not you");
  Writer writer = Begin(1'000);
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  const auto [ended, messages] = ending_.Wait();
  EXPECT_TRUE(absl::IsPermissionDenied(ended));
  EXPECT_EQ(messages, 0);
  EXPECT_TRUE(server_.http.requests.empty());
}

TEST_F(UploadDatasetTest, StorageNeverHasADatasetThatIsNotWhatItWasSaidToBe) {
  const std::string zip = MakeZip({{"a.jpg", "x"}});
  Writer writer = Begin(static_cast<int64_t>(zip.size()) + 1);
  Send(writer, zip);
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_TRUE(absl::IsDataLoss(ending_.Wait().first));
  EXPECT_EQ(storage_.stored(), "");
}

TEST_F(UploadDatasetTest, EndsWithItsClient) {
  Writer writer = Begin(1'000'000);
  Send(writer, MakeZip({{"a.jpg", "x"}}).substr(0, 30));
  server_.AwaitAdmitted();
  context_->TryCancel();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(absl::IsCancelled(ending_.Wait().first));
}

TEST_F(UploadDatasetTest, EndsWithWhatItIsRevokedWith) {
  Writer writer = Begin(1'000'000);
  server_.AwaitAdmitted();
  server_.Revoke();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(absl::IsUnauthenticated(ending_.Wait().first));
}

}  // namespace
}  // namespace finetune
