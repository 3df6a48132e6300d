#include "server/service/transfers/download_weights.h"

#include "tests/service/transfers/sample_weights.h"
#include "tests/service/transfers/transfer_server.h"

namespace finetune {
namespace {

class DownloadWeightsTest : public ::testing::Test {
 protected:
  using Service = pb::FineTuneService::WithRawMethod_DownloadWeights<pb::FineTuneService::Service>;

  // `others`: others commit to the same record, and what they committed can be asked for, or not.
  void Serve(std::optional<absl::Status> others = std::nullopt) {
    method_ = {
        .ask =
            [this](grpc::ServerContext& context, grpc::ByteBuffer& request,
                   DownloadMethod::Writer& writer, grpc::ServerCompletionQueue& arrivals,
                   void* tag) {
              server_.service.RequestDownloadWeights(&context, &request, &writer, &arrivals,
                                                     &arrivals, tag);
            },
        .admit = [this](grpc::ServerContext& context, const grpc::ByteBuffer&,
                        DownloadDone& done) -> absl::StatusOr<DownloadMethod::Look> {
          done = [this](const absl::Status& status, double messages) {
            server_.Ended();
            ending_.Note(status, messages);
          };
          if (!refusal_.ok()) return refusal_;
          return [this, lasting = server_.Admit(context)]() -> absl::StatusOr<AdmittedDownload> {
            if (++looks_ <= missing_for_) return absl::NotFoundError("no such job");
            return AdmittedDownload{
                server_.transfers,
                DownloadSpec{
                    .weights_uri = "https://storage.test/b/w", .upstream_id = "u", .open = true},
                lasting};
          };
        }};
    if (others) {
      method_.catch_up = [others](absl::AnyInvocable<void(absl::Status) &&> then) {
        std::move(then)(*others);
      };
    }
    AcceptDownload(method_, *server_.queues);
    server_.Start();
  }
  ~DownloadWeightsTest() override { server_.Stop(); }

  // What comes, and how it ends.
  std::pair<grpc::Status, std::string> Download() {
    auto reader = server_.stub->DownloadWeights(context_.get(), {});
    pb::DownloadWeightsResponse response;
    std::string bytes;
    while (reader->Read(&response)) bytes += response.chunk();
    return {reader->Finish(), bytes};
  }

  const std::string weights_ = Weights(30'000'000);
  WillingStorage storage_{weights_};
  TransferServer<Service> server_{storage_};
  DownloadMethod method_;
  absl::Status refusal_;
  std::atomic<int> looks_ = 0;
  int missing_for_ = 0;  // Looks.
  Ending ending_;
  std::unique_ptr<grpc::ClientContext> context_ = PatientContext();
};

TEST_F(DownloadWeightsTest, BringsAllBytesAndCountsItsMessages) {
  Serve();
  const auto [status, bytes] = Download();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(bytes, weights_);
  const auto [ended, messages] = ending_.Wait();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_GE(messages, 28) << "of a MiB at most";
}

TEST_F(DownloadWeightsTest, ARefusedCallHasNoLookAtTheJob) {
  refusal_ = absl::PermissionDeniedError("not you");
  Serve();
  EXPECT_EQ(Download().first.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ending_.Wait().second, 0);
  EXPECT_EQ(looks_, 0);
}

TEST_F(DownloadWeightsTest, AJobThatIsNotThereIsNotThereWhereNobodyElseCommits) {
  missing_for_ = 1;
  Serve();
  EXPECT_EQ(Download().first.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(looks_, 1);
}

TEST_F(DownloadWeightsTest, LooksAgainOnceWhatOthersCommittedIsThere) {
  missing_for_ = 1;
  Serve(absl::OkStatus());
  const auto [status, bytes] = Download();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(bytes.size(), weights_.size());
  EXPECT_EQ(looks_, 2);
}

TEST_F(DownloadWeightsTest, SaysWhyWhatOthersCommittedCannotBeAskedFor) {
  missing_for_ = 1;
  Serve(absl::UnavailableError("no database"));
  EXPECT_EQ(Download().first.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(looks_, 1);
}

TEST_F(DownloadWeightsTest, EndsWithWhatItIsRevokedWith) {
  Serve();
  auto reader = server_.stub->DownloadWeights(context_.get(), {});
  pb::DownloadWeightsResponse response;
  ASSERT_TRUE(reader->Read(&response));
  server_.Revoke();
  // Much more is left than fits between the two: it cannot have ended by itself.
  EXPECT_TRUE(absl::IsUnauthenticated(ending_.Wait().first));
}

TEST_F(DownloadWeightsTest, EndsWithItsClient) {
  Serve();
  auto reader = server_.stub->DownloadWeights(context_.get(), {});
  pb::DownloadWeightsResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context_->TryCancel();
  while (reader->Read(&response)) continue;
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ending_.Wait();
}

}  // namespace
}  // namespace finetune
