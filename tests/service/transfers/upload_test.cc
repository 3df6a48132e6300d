#include "server/service/transfers/upload.h"

#include <gmock/gmock.h>

#include "server/service/calls/message_bytes.h"
#include "tests/dataset/zip_samples.h"
#include "tests/service/transfers/transfer_rig.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

class CountingReceiver : public UploadReceiver {
 public:
  void Read() override { ++reads; }
  void End(const absl::Status& status) override { ended = status; }

  int reads = 0;
  std::optional<absl::Status> ended;
};

class UploadTest : public TransferRig {
 protected:
  void Begin(const std::string& dataset) {
    upload_ = std::make_shared<Upload>(transfers_, TraceContext(), nullptr, receiver_);
    upload_->Begin();
    ScriptUrl("one");
    pb::UploadDatasetRequest request;
    request.mutable_spec()->set_file_name("d.zip");
    request.mutable_spec()->set_size_bytes(static_cast<int64_t>(dataset.size()));
    upload_->OnMessage(WriteMessage(request));
  }
  void ScriptUrl(const std::string& signature) {
    http_.Script(200, R"({"presigned_url":"https://b.s3.amazonaws.com/d.zip?X-Amz-Signature=)" +
                          signature + R"(","s3_url":"https://b.s3.amazonaws.com/d.zip"})");
  }
  void Send(const std::string& bytes) {
    pb::UploadDatasetRequest request;
    request.set_chunk(bytes);
    upload_->OnMessage(WriteMessage(request));
  }
  std::string UrlOfLast() { return streamer_.last().request.url.Reveal(); }

  // An error that tells the client not to try again.
  void ExpectFinal(absl::StatusCode code, const char* words) {
    ASSERT_TRUE(receiver_.ended);
    EXPECT_EQ(receiver_.ended->code(), code) << *receiver_.ended;
    EXPECT_EQ(RetryDelayOf(*receiver_.ended), std::nullopt);
    EXPECT_THAT(std::string(receiver_.ended->message()), HasSubstr(words));
  }

  CountingReceiver receiver_;
  std::shared_ptr<Upload> upload_;
};

TEST_F(UploadTest, SendsTheLastByteOnceAllIsKnownToBeRight) {
  const std::string zip = MakeZip({{"a.jpg", "x"}});
  Begin(zip);
  EXPECT_FALSE(streamer_.last().request.ask_first);
  Send(zip);
  EXPECT_EQ(streamer_.last().Drain(), zip.substr(0, zip.size() - 1));
  EXPECT_EQ(streamer_.last().Drain(), "");
  upload_->OnHalfClose();
  EXPECT_EQ(streamer_.last().Drain(), zip.substr(zip.size() - 1));
  streamer_.last().Answer(200, "");
  ASSERT_TRUE(receiver_.ended && receiver_.ended->ok()) << *receiver_.ended;
  EXPECT_EQ(upload_->dataset().image_count(), 1);
  EXPECT_EQ(upload_->dataset().sha256(), Sha256Of(zip));
}

TEST_F(UploadTest, RefusesWhatNothingCanBeTrainedWith) {
  for (const std::string& zip : {MakeZip({{"cats/a.jpg", "x"}}), MakeZip({{"notes.pdf", "x"}})}) {
    receiver_ = {};
    Begin(zip);
    Send(zip);
    streamer_.last().Drain();
    upload_->OnHalfClose();
    ExpectFinal(absl::StatusCode::kInvalidArgument, "no images");
    EXPECT_TRUE(streamer_.last().cancelled);
  }
}

TEST_F(UploadTest, RefusesAtItsFirstBytesWhatIsNoZip) {
  Begin(std::string(100 << 20, 't'));
  Send("text");
  ExpectFinal(absl::StatusCode::kInvalidArgument, "no zip");
}

TEST_F(UploadTest, TakesAFreshUrlOnceForOneThatIsRefused) {
  const std::string zip = MakeZip({{"a.jpg", "x"}});
  Begin(zip);
  Send(zip);
  upload_->OnHalfClose();
  streamer_.last().Drain(10);
  ScriptUrl("two");
  streamer_.last().Answer(403, "<Error><Code>AccessDenied</Code></Error>");
  ASSERT_EQ(streamer_.streams.size(), 2u);
  EXPECT_THAT(UrlOfLast(), HasSubstr("Signature=two"));
  EXPECT_EQ(streamer_.last().Drain(), zip) << "from its first byte";
  streamer_.last().Answer(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
  EXPECT_EQ(streamer_.streams.size(), 2u);
  ExpectFinal(absl::StatusCode::kInternal, "403 SignatureDoesNotMatch");
}

TEST_F(UploadTest, GoesOnWithWhatComesAfterAFreshUrl) {
  const std::string zip = MakeZip({{"a.jpg", std::string(3000, 'x')}});
  Begin(zip);
  Send(zip.substr(0, 1000));
  streamer_.last().Drain(700);
  ScriptUrl("two");
  streamer_.last().Answer(400, "<Error><Code>ExpiredToken</Code></Error>");
  std::string sent = streamer_.last().Drain();
  Send(zip.substr(1000));
  upload_->OnHalfClose();
  sent += streamer_.last().Drain();
  EXPECT_EQ(sent, zip);
  streamer_.last().Answer(200, "");
  EXPECT_TRUE(receiver_.ended && receiver_.ended->ok());
}

TEST_F(UploadTest, AsksFirstBeforeItSendsWhatItCouldNotSendAgain) {
  const std::string zip = MakeZip({{"a.jpg", std::string(3 << 20, 'x')}});
  Begin(zip);
  EXPECT_TRUE(streamer_.last().request.ask_first);
  Send(zip);
  while (!streamer_.last().Drain().empty()) continue;
  streamer_.last().Answer(403, "");
  EXPECT_EQ(streamer_.streams.size(), 1u) << "too much of it is gone";
  ExpectFinal(absl::StatusCode::kInternal, "403");
}

TEST_F(UploadTest, TellsWhatStorageRefusesForGood) {
  struct Case {
    int code;
    const char* body;
    absl::StatusCode status;
    const char* words;
  };
  for (const Case& c : {Case{307, "<Error><Code>TemporaryRedirect</Code></Error>",
                             absl::StatusCode::kInternal, "307 TemporaryRedirect"},
                        Case{301, "", absl::StatusCode::kInternal, "elsewhere"},
                        Case{400, "<Error><Code>EntityTooLarge</Code></Error>",
                             absl::StatusCode::kInvalidArgument, "spec.size_bytes"},
                        Case{413, "", absl::StatusCode::kInvalidArgument, "spec.size_bytes"},
                        Case{411, "<Error><Code>MissingContentLength</Code></Error>",
                             absl::StatusCode::kInternal, "411"},
                        Case{405, "<html>s3cret</html>", absl::StatusCode::kInternal, "405"},
                        Case{400, "<Error><Code>InvalidDigest</Code></Error>",
                             absl::StatusCode::kInternal, "InvalidDigest"}}) {
    receiver_ = {};
    Begin(MakeZip({{"a.jpg"}}));
    streamer_.last().Answer(c.code, c.body);
    ExpectFinal(c.status, c.words);
  }
}

TEST_F(UploadTest, SaysWhenToTryAgainWhatMayPass) {
  for (const auto& [code, body] : std::vector<std::pair<int, std::string>>{
           {500, ""},
           {503, "<Error><Code>SlowDown</Code></Error>"},
           {429, ""},
           {408, ""},
           {400, "<Error><Code>RequestTimeout</Code></Error>"}}) {
    receiver_ = {};
    Begin(MakeZip({{"a.jpg"}}));
    streamer_.last().Answer(code, body);
    ASSERT_TRUE(receiver_.ended) << code;
    EXPECT_EQ(ReasonOf(*receiver_.ended), pb::ErrorReason::UPSTREAM_UNAVAILABLE) << code;
    EXPECT_TRUE(RetryDelayOf(*receiver_.ended)) << code;
  }
}

TEST_F(UploadTest, EndsWhenTheClientSendsNextToNothing) {
  const std::string zip = MakeZip({{"a.jpg", std::string(3000, 'x')}});
  Begin(zip);
  for (size_t at = 0; at < 100 && !receiver_.ended; ++at) {
    Send(zip.substr(at, 1));
    streamer_.last().Drain();
    clock_.Advance(absl::Seconds(5));
  }
  ASSERT_TRUE(receiver_.ended) << "a byte every five seconds";
  EXPECT_EQ(receiver_.ended->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(receiver_.ended->message()), HasSubstr("the client moves less than"));
}

}  // namespace
}  // namespace finetune
