#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "server/http/http_client.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// An HttpClient that answers what a test has scripted, within Start, and keeps what it was asked.
// With nothing scripted a call stays open until the test answers it. For one thread.
class FakeHttpClient : public HttpClient {
 public:
  void Start(HttpRequest request, Done done) override {
    requests.push_back(std::move(request));
    if (shut_down_) {
      std::move(done)({.status = absl::CancelledError("shut down")});
    } else if (script_.empty()) {
      open_.push_back(std::move(done));
    } else {
      HttpResult result = std::move(script_.front());
      script_.pop_front();
      std::move(done)(std::move(result));
    }
  }
  void Shutdown() override {
    shut_down_ = true;
    for (Done& done : std::exchange(open_, {}))
      std::move(done)({.status = absl::CancelledError("shut down"), .sent = true});
  }

  static HttpResult Answer(int code, std::string body,
                           std::vector<std::pair<std::string, std::string>> headers = {}) {
    return {.response = {code, std::move(headers), std::move(body)}, .sent = true};
  }
  static HttpResult Failure(absl::Status status, bool sent) {
    return {.status = std::move(status), .sent = sent};
  }

  // What the next call gets.
  void Script(HttpResult result) { script_.push_back(std::move(result)); }
  void Script(int code, std::string body) { Script(Answer(code, std::move(body))); }

  // Answers the oldest open call.
  void Release(HttpResult result) {
    Done done = std::move(open_.front());
    open_.pop_front();
    std::move(done)(std::move(result));
  }
  size_t open() const { return open_.size(); }

  std::vector<HttpRequest> requests;

 private:
  std::deque<HttpResult> script_;
  std::deque<Done> open_;
  bool shut_down_ = false;
};

// Keys in a row: each Reread moves on to the next.
class FakeKeySource : public ApiKeySource {
 public:
  explicit FakeKeySource(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  absl::StatusOr<Secret> Get() override {
    if (at_ >= keys_.size()) return absl::FailedPreconditionError("no key");
    return Secret(keys_[at_]);
  }
  bool Reread(const Secret& key) override {
    ++rereads;
    if (at_ + 1 < keys_.size() && key.Equals(keys_[at_])) ++at_;
    return at_ < keys_.size() && !key.Equals(keys_[at_]);
  }

  int rereads = 0;

 private:
  std::vector<std::string> keys_;
  size_t at_ = 0;
};

}  // namespace finetune
