#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/http/http_stream.h"

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
      const auto kept = listener;
      Head(code, body.size(), std::move(headers));
      EXPECT_TRUE(kept->OnData(body));
      kept->OnEnd(absl::OkStatus());
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

}  // namespace finetune
