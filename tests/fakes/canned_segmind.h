#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/worker.h"
#include "server/http/http_client.h"

namespace finetune {

// Segmind below SegmindClient: answers each call by a table that a test fills, on a thread of its
// own. Without an entry: an empty list, 404 for details, and 502 for all else. Thread-safe.
class CannedSegmind : public HttpClient {
 public:
  void Answer(const std::string& path, int code, std::string body) {
    MutexLock lock(mu_);
    for (auto& [known, answer] : answers_)
      if (known == path) return void(answer = {code, std::move(body)});
    answers_.emplace_back(path, std::make_pair(code, std::move(body)));
  }
  std::vector<std::string> calls(const std::string& path) {
    MutexLock lock(mu_);
    std::vector<std::string> bodies;
    for (const auto& [called, body] : calls_)
      if (called == path) bodies.push_back(body);
    return bodies;
  }

  void Start(HttpRequest request, Done done) override {
    HttpResult result;
    result.sent = true;
    result.start_time = SteadyNow();
    {
      MutexLock lock(mu_);
      const std::string path = request.url.substr(request.url.find('/', 8));
      calls_.emplace_back(path, request.body);
      result.response.code = path == "/finetune/request/list"      ? 200
                             : path == "/finetune/request/details" ? 404
                                                                   : 502;
      result.response.body = result.response.code == 200 ? "[]" : R"({"error":"none"})";
      for (const auto& [known, answer] : answers_) {
        if (known != path) continue;
        result.response.code = answer.first;
        result.response.body = answer.second;
      }
      result.response.headers = {{"content-type", "application/json"}};
    }
    auto shared = std::make_shared<Done>(std::move(done));
    if (!thread_.Post([shared, result]() mutable { std::move (*shared)(std::move(result)); })) {
      result.status = absl::CancelledError("shut down");
      std::move (*shared)(std::move(result));
    }
  }
  void Shutdown() override { thread_.Stop(); }

 private:
  Mutex mu_;
  std::vector<std::pair<std::string, std::pair<int, std::string>>> answers_ ABSL_GUARDED_BY(mu_);
  std::vector<std::pair<std::string, std::string>> calls_ ABSL_GUARDED_BY(mu_);
  Worker thread_{"canned-segmind"};
};

}  // namespace finetune
