#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/metrics.h"
#include "server/segmind/segmind_client.h"
#include "server/service/transfers/transfers.h"
#include "tests/base/manual_clock.h"
#include "tests/http/fake_http_client.h"

namespace finetune {

// Streams that a test answers by hand. For one thread.
class FakeStreamer : public HttpStreamer {
 public:
  struct Stream : HttpStream {
    void Resume() override { ++resumed; }
    void Cancel() override { cancelled = true; }

    // The whole answer at once. False from OnData is not expected.
    void Answer(int code, const std::string& body,
                std::vector<std::pair<std::string, std::string>> headers = {}) {
      Head(code, body.size(), std::move(headers));
      EXPECT_TRUE(listener->OnData(body));
      listener->OnEnd(absl::OkStatus());
    }
    void Head(int code, size_t length,
              std::vector<std::pair<std::string, std::string>> headers = {}) {
      HttpResponse head;
      head.code = code;
      head.headers = std::move(headers);
      if (code == 200) head.headers.emplace_back("content-length", absl::StrCat(length));
      listener->OnHead(head);
    }
    // What the request's body has to give, up to `most`.
    std::string Drain(size_t most = 1 << 20) {
      std::string sent(most, '\0');
      sent.resize(listener->OnSend(sent.data(), sent.size()));
      return sent;
    }
    std::string Header(const std::string& wanted) const {
      for (const auto& [name, value] : request.headers)
        if (name == wanted) return value;
      return "";
    }

    StreamRequest request;
    std::shared_ptr<HttpStreamListener> listener;
    int resumed = 0;
    bool cancelled = false;
  };

  std::shared_ptr<HttpStream> Start(StreamRequest request,
                                    std::shared_ptr<HttpStreamListener> listener) override {
    auto stream = std::make_shared<Stream>();
    stream->request = std::move(request);
    stream->listener = std::move(listener);
    streams.push_back(stream);
    return stream;
  }
  void Shutdown() override {}

  Stream& last() { return *streams.back(); }

  std::vector<std::shared_ptr<Stream>> streams;
};

// Transfers without a network: Segmind's answers are scripted, storage's are given by hand.
class TransferRig : public ::testing::Test {
 protected:
  ManualClock clock_;
  FakeHttpClient http_;
  FakeKeySource key_{{"key"}};
  Metrics metrics_;
  SegmindClient segmind_{{}, http_, key_, clock_, metrics_};
  FakeStreamer streamer_;
  Transfers transfers_{{.idle_timeout = absl::Seconds(60), .least_bytes_per_second = 100},
                       segmind_,
                       streamer_,
                       clock_,
                       metrics_};
};

}  // namespace finetune
