#include "server/service/requests/dataset_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "server/dataset/dataset_inspector.h"
#include "tests/dataset/zip_samples.h"
#include "tests/http/fake_streamer.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using Purpose = DatasetLooks::Purpose;

class DatasetUrlTest : public ::testing::Test {
 protected:
  void Look(const std::string& url, Purpose purpose = Purpose::kCheck,
            const std::string& model = "FAST_FLUX") {
    pb::FineTune job;
    job.set_data_source_uri(url);
    job.set_base_model(model);
    verdict_.reset();
    handle_ = looks_.Start(job, purpose, {absl::InfiniteFuture()},
                           [this](absl::Status status) { verdict_ = std::move(status); });
  }
  // A storage that serves `file` as it should be.
  void Serve(const std::string& file) {
    while (!verdict_) {
      FakeStreamer::Stream& stream = streamer_.last();
      if (stream.request.method == "HEAD") {
        stream.Head(200, file.size());
        stream.listener->OnEnd(absl::OkStatus());
        continue;
      }
      long long from = 0, to = 0;
      ASSERT_EQ(sscanf(stream.Header("Range").c_str(), "bytes=%lld-%lld", &from, &to), 2);
      const std::string part = file.substr(from, to - from + 1);
      stream.Answer(206, part,
                    {{"content-range", absl::StrCat("bytes ", from, "-", from + part.size() - 1,
                                                    "/", file.size())}});
    }
  }
  void ExpectWrong(const char* words) {
    ASSERT_TRUE(verdict_);
    EXPECT_EQ(ReasonOf(*verdict_), pb::ErrorReason::INVALID_FIELD) << *verdict_;
    EXPECT_THAT(std::string(verdict_->message()), HasSubstr(words));
    EXPECT_THAT(std::string(verdict_->message()), HasSubstr("fine_tune.data_source_uri"));
  }
  void ExpectGood() {
    ASSERT_TRUE(verdict_);
    EXPECT_TRUE(verdict_->ok()) << *verdict_;
  }

  FakeStreamer streamer_;
  DatasetLooks looks_{streamer_, "http://127.0.0.1:8090"};
  std::optional<absl::Status> verdict_;
  std::shared_ptr<HttpStream> handle_;
};

constexpr char kUrl[] = "https://data.example/d.zip";

TEST_F(DatasetUrlTest, LooksAtTheLastBytesOfAZip) {
  Look(kUrl);
  EXPECT_TRUE(streamer_.last().request.foreign);
  Serve(MakeZip({{"a.jpg", std::string(3 << 20, 'x')}}));
  ExpectGood();
  EXPECT_EQ(streamer_.streams.size(), 2u);
  Look(kUrl);
  Serve(MakeZip({{"a.jpg"}, {"a.txt"}}));
  ExpectGood();
}

TEST_F(DatasetUrlTest, RefusesWhatNothingCanBeTrainedWith) {
  std::string half = MakeZip({{"a.jpg", std::string(1000, 'x')}});
  half.resize(half.size() / 2);
  for (const auto& [file, words] : std::vector<std::pair<std::string, const char*>>{
           {"<!DOCTYPE html><html><body>Sign in to see it</body></html>", "a web page, no zip"},
           {R"({"error": "not found", "code": 404})", "JSON, no zip"},
           {"\xff\xd8\xff\xe0" + std::string(500, 'x'), "an image"},
           {"\x89PNG\r\n\x1a\n" + std::string(500'000, 'x'), "no zip"},
           {"abc", "3 bytes"},
           {"", "empty"},
           {half, "cut off"},
           {MakeZip({}), "no images"},
           {MakeZip({{"cats/a.jpg", "x"}}), "no images"}}) {
    Look(kUrl);
    Serve(file);
    ExpectWrong(words);
  }
}

TEST_F(DatasetUrlTest, RefusesWhatAHeadAlreadyTells) {
  for (const auto& [code, words] : std::vector<std::pair<int, const char*>>{
           {404, "answered 404"}, {403, "answered 403"}, {401, "answered 401"}, {405, "405"}}) {
    for (const Purpose purpose : {Purpose::kCheck, Purpose::kCreate}) {
      Look(kUrl, purpose, "QWEN");
      streamer_.last().Head(code, 0);
      streamer_.last().listener->OnEnd(absl::OkStatus());
      ExpectWrong(words);
    }
  }
  Look(kUrl);
  streamer_.last().Head(200, kDatasetLimitBytes);
  streamer_.last().listener->OnEnd(absl::OkStatus());
  ExpectWrong("under");
}

TEST_F(DatasetUrlTest, KnowsThatSegmindsOwnFilesMayBeClosedToOthers) {
  for (const char* url :
       {"https://finetune-pipeline.s3.amazonaws.com/uploads/a/b.zip",
        "http://127.0.0.1:8090/storage/x.zip", "https://files.segmind.com/x.zip"}) {
    for (const auto& [model, good] :
         std::vector<std::pair<const char*, bool>>{{"QWEN", true}, {"FAST_FLUX", false}}) {
      Look(url, Purpose::kCheck, model);
      streamer_.last().Head(403, 0);
      streamer_.last().listener->OnEnd(absl::OkStatus());
      if (good)
        ExpectGood();
      else
        ExpectWrong("403");
    }
  }
  Look("https://finetune-pipeline.s3.evil.example/b.zip", Purpose::kCheck, "QWEN");
  streamer_.last().Head(403, 0);
  streamer_.last().listener->OnEnd(absl::OkStatus());
  ExpectWrong("403");
}

TEST_F(DatasetUrlTest, JudgesByAGetWhatIsSignedForThatAlone) {
  Look("https://b.s3.amazonaws.com/d.zip?X-Amz-Signature=s");
  EXPECT_EQ(streamer_.last().request.url.Reveal(),
            "https://b.s3.amazonaws.com/d.zip?X-Amz-Signature=s");
  streamer_.last().Head(403, 0);
  streamer_.last().listener->OnEnd(absl::OkStatus());
  EXPECT_EQ(streamer_.last().request.method, "GET");
  Serve(MakeZip({{"a.jpg", std::string(3 << 20, 'x')}}));
  ExpectGood();
  Look("https://b.s3.amazonaws.com/d.zip?X-Amz-Signature=s");
  streamer_.last().Head(403, 0);
  streamer_.last().listener->OnEnd(absl::OkStatus());
  streamer_.last().Answer(403, "<Error><Code>AccessDenied</Code></Error>");
  ExpectWrong("a GET is answered 403");
}

TEST_F(DatasetUrlTest, LooksAtTheFirstBytesWhereThereAreNoParts) {
  const std::string zip = MakeZip({{"a.jpg", std::string(300'000, 'x')}});
  for (const std::string& file : {zip, "<html>" + std::string(300'000, 'x')}) {
    Look(kUrl);
    streamer_.last().Head(200, file.size());
    streamer_.last().listener->OnEnd(absl::OkStatus());
    const auto stream = streamer_.streams.back();
    const auto listener = stream->listener;
    stream->Head(200, file.size());
    EXPECT_TRUE(listener->OnData(file.substr(0, 200'000)));
    EXPECT_TRUE(stream->cancelled) << "no more is read than needed";
    listener->OnEnd(absl::CancelledError("cancelled"));
    if (file == zip)
      ExpectGood();
    else
      ExpectWrong("a web page");
  }
}

TEST_F(DatasetUrlTest, TakesNoPartForTheEndOfTheFileThatIsNotThere) {
  for (const char* range :
       {"bytes 9223372036854775807-9223372036854775807/5000", "bytes 4900-9223372036854775807/5000",
        "bytes 5001-5100/5000", "bytes 99999999999999999999-1/5000", "bytes 100-199/5000",
        "bytes x", ""}) {
    Look(kUrl);
    streamer_.last().Head(200, 5000);
    streamer_.last().listener->OnEnd(absl::OkStatus());
    streamer_.last().Answer(206, std::string(101, 'x'), {{"content-range", range}});
    ExpectWrong("cannot be fetched");
  }
}

TEST_F(DatasetUrlTest, LetsACreateGoOnWhereItCannotBeToldFromHere) {
  for (const absl::Status& failure :
       {absl::UnavailableError("no connection"), absl::DeadlineExceededError("no answer"),
        absl::PermissionDeniedError("the host has an address that is not public")}) {
    Look(kUrl, Purpose::kCreate);
    streamer_.last().listener->OnEnd(failure);
    ExpectGood();
    Look(kUrl, Purpose::kCheck);
    streamer_.last().listener->OnEnd(failure);
    ExpectWrong("cannot be fetched");
  }
  Look("http://127.1/d.zip", Purpose::kCreate);
  streamer_.last().listener->OnEnd(absl::PermissionDeniedError("the host is not public"));
  ExpectWrong("not public");
  Look(kUrl, Purpose::kCreate);
  streamer_.last().Head(503, 0);
  streamer_.last().listener->OnEnd(absl::OkStatus());
  ExpectGood();
}

TEST_F(DatasetUrlTest, EndsWhenItIsCancelled) {
  Look(kUrl);
  handle_->Cancel();
  EXPECT_TRUE(streamer_.last().cancelled);
  streamer_.last().listener->OnEnd(absl::CancelledError("cancelled"));
  ASSERT_TRUE(verdict_);
}

TEST_F(DatasetUrlTest, IsGoneOnceItHasEnded) {
  const std::string zip = MakeZip({{"a.jpg", std::string(300'000, 'x')}});
  for (const bool cancelled : {false, true}) {
    Look(kUrl);
    if (cancelled) {
      streamer_.last().Head(200, zip.size());
      streamer_.last().listener->OnEnd(absl::OkStatus());
      handle_->Cancel();
      streamer_.last().listener->OnEnd(absl::CancelledError("cancelled"));
    } else {
      Serve(zip);
    }
    const std::weak_ptr<HttpStream> look = handle_;
    handle_.reset();
    streamer_.streams.clear();
    EXPECT_TRUE(look.expired()) << cancelled;
  }
}

}  // namespace
}  // namespace finetune
