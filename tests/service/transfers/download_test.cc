#include "server/service/transfers/download.h"

#include <gmock/gmock.h>

#include "server/base/crc32c.h"
#include "tests/service/transfers/sample_weights.h"
#include "tests/service/transfers/transfer_rig.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Takes all messages, at once or when it is told to.
class Receiver : public DownloadReceiver {
 public:
  void Write(const grpc::ByteBuffer& message) override {
    grpc::Slice whole;
    EXPECT_TRUE(message.DumpToSingleSlice(&whole).ok());
    pb::DownloadWeightsResponse response;
    EXPECT_TRUE(response.ParseFromArray(whole.begin(), static_cast<int>(whole.size())));
    messages.push_back(std::move(response));
  }
  void Abort() override { aborted = true; }
  void End(const absl::Status& status) override { ended = status; }

  std::string bytes() const {
    std::string all;
    for (const auto& message : messages) all += message.chunk();
    return all;
  }

  std::vector<pb::DownloadWeightsResponse> messages;
  bool aborted = false;
  std::optional<absl::Status> ended;
};

class DownloadTest : public TransferRig {
 protected:
  std::shared_ptr<Download> Begin(DownloadSpec spec) {
    auto download = std::make_shared<Download>(transfers_, std::move(spec), receiver_);
    download->Begin();
    return download;
  }
  // Writes end well until there are no more.
  void TakeAll(Download& download) {
    for (size_t taken = 0; taken < receiver_.messages.size(); ++taken) download.OnWritten(true);
  }
  static DownloadSpec Open() {
    return {.weights_uri = "https://storage.googleapis.com/b/w", .upstream_id = "u", .open = true};
  }
  static DownloadSpec Private() {
    return {.weights_uri = "https://b.s3.amazonaws.com/w", .upstream_id = "u"};
  }

  Receiver receiver_;
};

TEST_F(DownloadTest, BringsWeightsWithTheirDigests) {
  auto download = Begin(Open());
  EXPECT_EQ(streamer_.last().request.url.Reveal(), "https://storage.googleapis.com/b/w");
  EXPECT_EQ(streamer_.last().Header("Accept-Encoding"), "identity");
  const std::string weights = Weights(3'000'000);
  streamer_.last().Answer(200, weights, {{"etag", "\"e\""}});
  TakeAll(*download);
  ASSERT_TRUE(receiver_.ended && receiver_.ended->ok());
  EXPECT_EQ(receiver_.bytes(), weights);
  EXPECT_EQ(receiver_.messages[0].total_size_bytes(), 3'000'000);
  EXPECT_EQ(receiver_.messages[0].generation(), "\"e\"");
  for (const auto& message : receiver_.messages) {
    EXPECT_EQ(message.crc32c(), Crc32c(message.chunk()));
    EXPECT_EQ(message.sha256(), &message == &receiver_.messages.back() ? Sha256Of(weights) : "");
  }
}

TEST_F(DownloadTest, TellsTheWholesDigestOfTheWholeAlone) {
  DownloadSpec spec = Open();
  spec.limit = 2000;
  auto download = Begin(spec);
  streamer_.last().Answer(200, Weights(2000));
  TakeAll(*download);
  EXPECT_EQ(receiver_.messages.back().sha256(), Sha256Of(Weights(2000)));
  spec.limit = 1999;
  receiver_ = {};
  download = Begin(spec);
  streamer_.last().Answer(200, Weights(2000));
  TakeAll(*download);
  EXPECT_EQ(receiver_.bytes(), Weights(2000).substr(0, 1999));
  EXPECT_EQ(receiver_.messages.back().sha256(), "");
}

TEST_F(DownloadTest, TakesNoDigestThatIsNotWanted) {
  DownloadSpec spec = Open();
  spec.skip_sha256 = true;
  auto download = Begin(spec);
  streamer_.last().Answer(200, Weights(2000));
  TakeAll(*download);
  EXPECT_EQ(receiver_.bytes(), Weights(2000));
  EXPECT_EQ(receiver_.messages.back().sha256(), "");
}

TEST_F(DownloadTest, BringsAFewBytesOfTheBeginningOnceAllThatTellsIsSeen) {
  DownloadSpec spec = Open();
  spec.offset = 3;
  spec.limit = 2;
  auto download = Begin(spec);
  EXPECT_EQ(streamer_.last().Header("Range"), "bytes=0-511");
  const std::string part = Weights(1000).substr(0, 512);
  streamer_.last().Head(206, 512, {{"content-range", "bytes 0-511/1000"}});
  EXPECT_TRUE(streamer_.last().listener->OnData(part.substr(0, 100)));
  EXPECT_TRUE(receiver_.messages.empty());
  EXPECT_TRUE(streamer_.last().listener->OnData(part.substr(100)));
  TakeAll(*download);
  EXPECT_EQ(receiver_.bytes(), part.substr(3, 2));
  EXPECT_TRUE(receiver_.ended && receiver_.ended->ok());
  EXPECT_TRUE(streamer_.last().cancelled);
}

TEST_F(DownloadTest, LetsNoByteThroughOfWhatIsNoWeights) {
  for (const std::string& body :
       {std::string("<!DOCTYPE html><html>Sign in</html>"), std::string(R"({"error":"expired"})"),
        std::string("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"),
        std::string("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"), std::string(),
        "<html>" + std::string(5'000'000, 'x'), Weights(16).substr(0, 12)}) {
    receiver_ = {};
    auto download = Begin(Open());
    streamer_.last().Answer(200, body, {{"content-type", "application/octet-stream"}});
    ASSERT_TRUE(receiver_.ended) << body.substr(0, 20);
    EXPECT_EQ(receiver_.ended->code(), absl::StatusCode::kInternal) << *receiver_.ended;
    EXPECT_EQ(ReasonOf(*receiver_.ended), pb::ErrorReason::UPSTREAM_MALFORMED);
    EXPECT_TRUE(receiver_.messages.empty());
  }
}

TEST_F(DownloadTest, AsksForASignedUrlWhereTheOpenOneIsLocked) {
  http_.Script(200, "https://b.s3.amazonaws.com/w?X-Amz-Signature=fresh");
  auto download = Begin(Open());
  streamer_.last().Answer(403, "<Error><Code>AccessDenied</Code></Error>");
  ASSERT_EQ(streamer_.streams.size(), 2u);
  EXPECT_EQ(streamer_.last().request.url.Reveal(),
            "https://b.s3.amazonaws.com/w?X-Amz-Signature=fresh");
  streamer_.last().Answer(200, Weights(1000));
  TakeAll(*download);
  EXPECT_EQ(receiver_.bytes(), Weights(1000));
}

TEST_F(DownloadTest, TakesTheSignedUrlOfTheDetailsWhereSegmindSignsNone) {
  for (const bool signs : {true, false}) {
    receiver_ = {};
    if (signs)
      http_.Script(200, "https://b.s3.amazonaws.com/w?X-Amz-Signature=useless");
    else
      http_.Script(404, R"({"error":"no such file"})");
    const std::string fresh = "https://b.s3.amazonaws.com/w?X-Amz-Signature=fresh";
    http_.Script(200, R"({"finetune":{"finetune_id":"u","cloud_storage_url":")" + fresh + "\"}}");
    auto download = Begin(Private());
    if (signs) streamer_.last().Answer(403, "");
    EXPECT_EQ(streamer_.last().request.url.Reveal(), fresh);
    streamer_.last().Answer(200, Weights(1000));
    TakeAll(*download);
    EXPECT_EQ(receiver_.bytes(), Weights(1000));
    EXPECT_TRUE(receiver_.ended && receiver_.ended->ok());
  }
}

TEST_F(DownloadTest, SaysWhatWasRefusedWhenNoWayIsLeft) {
  http_.Script(200, "https://b.s3.amazonaws.com/w?X-Amz-Signature=s3cret");
  http_.Script(200, R"({"finetune":{"finetune_id":"u","cloud_storage_url":"https://b/w"}})");
  auto download = Begin(Private());
  streamer_.last().Answer(403, "<Error><Code>AccessDenied</Code></Error>");
  ASSERT_TRUE(receiver_.ended);
  EXPECT_EQ(ReasonOf(*receiver_.ended), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  EXPECT_THAT(std::string(receiver_.ended->message()), HasSubstr("403 AccessDenied"));
  EXPECT_EQ(streamer_.streams.size(), 1u);
}

TEST_F(DownloadTest, ContinuesTheSameFileOnly) {
  DownloadSpec spec = Open();
  spec.offset = 1000;
  spec.generation = "\"a\"";
  auto download = Begin(spec);
  streamer_.last().Head(206, 0, {{"content-range", "bytes 999-1999/2000"}, {"etag", "\"b\""}});
  EXPECT_TRUE(streamer_.last().listener->OnData(std::string(1001, 'x')));
  streamer_.last().listener->OnEnd(absl::OkStatus());
  ASSERT_TRUE(receiver_.ended);
  EXPECT_EQ(receiver_.ended->code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(*receiver_.ended), pb::ErrorReason::WEIGHTS_CHANGED);
  EXPECT_TRUE(receiver_.messages.empty());
}

TEST_F(DownloadTest, EndsWhenStorageMovesNextToNothing) {
  auto download = Begin(Open());
  const std::string weights = Weights(1'000'000);
  streamer_.last().Head(200, weights.size());
  size_t at = 0;
  for (int seconds = 0; seconds < 200 && !receiver_.ended; seconds += 5) {
    EXPECT_TRUE(streamer_.last().listener->OnData(weights.substr(at, 100)));
    at += 100;
    streamer_.last().listener->OnDry();
    if (!receiver_.messages.empty()) download->OnWritten(true);
    clock_.Advance(absl::Seconds(5));
  }
  ASSERT_TRUE(receiver_.ended) << "20 bytes a second";
  EXPECT_EQ(ReasonOf(*receiver_.ended), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  EXPECT_THAT(std::string(receiver_.ended->message()), HasSubstr("less than 100 bytes a second"));
}

TEST_F(DownloadTest, CutsOffAClientThatDoesNotRead) {
  auto download = Begin(Open());
  const std::string weights = Weights(1'000'000);
  streamer_.last().Answer(200, weights);
  ASSERT_EQ(receiver_.messages.size(), 1u);
  for (int i = 0; i < 10; ++i) clock_.Advance(absl::Seconds(15));
  EXPECT_TRUE(receiver_.aborted);
  download->OnWritten(false);
  ASSERT_TRUE(receiver_.ended);
  EXPECT_EQ(receiver_.ended->code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace finetune
