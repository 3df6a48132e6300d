#include "tests/bench/webhook.h"

#include <curl/curl.h>

#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "tests/bench/changes.h"
#include "tests/bench/process.h"
#include "tests/bench/raw_streams.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

// A connection that is kept, as the gateway and Segmind keep theirs.
class Http {
 public:
  explicit Http(const std::string& api_key) : curl_(curl_easy_init(), curl_easy_cleanup) {
    headers_ = curl_slist_append(headers_, "Content-Type: application/json");
    headers_ = curl_slist_append(headers_, absl::StrCat("x-api-key: ", api_key).c_str());
  }
  ~Http() { curl_slist_free_all(headers_); }
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  // Whether the answer was 200.
  bool Call(const char* method, const std::string& url, const std::string& body) {
    CURL* curl = curl_.get();
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(
        curl, CURLOPT_WRITEFUNCTION,
        +[](char*, size_t size, size_t count, void*) { return size * count; });
    long code = 0;
    const CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    if (result == CURLE_OK && code == 200) return true;
    std::cerr << method << " " << url.substr(0, url.rfind('/')) << ": "
              << curl_easy_strerror(result) << ", " << code << "\n";
    return false;
  }

 private:
  const std::unique_ptr<CURL, void (*)(CURL*)> curl_;
  curl_slist* headers_ = nullptr;
};

// Segmind: a job there that changes, and the webhook about it.
class Upstream {
 public:
  explicit Upstream(const WebhookOptions& options)
      : options_(options), emulator_(options.api_key), gateway_("") {}

  std::optional<int64_t> Change(int change) {
    const std::string& url = options_.emulator_url;
    if (!emulator_.Call("POST", absl::StrCat(url, "/emulator/jobs/", options_.upstream_id),
                        change % 2 == 0 ? R"({"public": true})" : R"({"public": false})")) {
      return std::nullopt;
    }
    const int64_t before = NowNanoseconds();
    if (!emulator_.Call("GET", absl::StrCat(url, "/finetune/request/details"),
                        absl::StrFormat(R"({"request_id": "%s"})", options_.upstream_id))) {
      return std::nullopt;
    }
    const int64_t start = NowNanoseconds();
    reads_.push_back(static_cast<double>(start - before) / 1e6);
    if (!gateway_.Call("POST", options_.webhook_url,
                       absl::StrFormat(R"({"finetune_id": "%s", "status": "AVAILABLE"})",
                                       options_.upstream_id))) {
      return std::nullopt;
    }
    return start;
  }

  const std::vector<double>& reads() const { return reads_; }

 private:
  const WebhookOptions& options_;
  Http emulator_;
  Http gateway_;
  std::vector<double> reads_;
};

}  // namespace

bool RunWebhook(const WebhookOptions& options) {
  Receipts receipts(options.streams);
  Upstream upstream(options);
  const auto streams = MakeFrameStreams(options.target, options.connections, receipts);
  StreamPlan plan;
  plan.method = "/segmind.finetune.v1.FineTuneService/WatchFineTunes";
  plan.read = ReadWatchResponse;
  pb::WatchFineTunesRequest request;
  request.set_skip_snapshot(true);
  plan.requests = {request.SerializeAsString()};
  for (int i = 0; i < options.streams; ++i) streams->Open(plan);
  if (!receipts.AwaitReady(options.streams)) {
    std::cerr << "not all streams were synced\n";
    return false;
  }
  const ChangesOptions changes{options.pid, options.streams, options.streams, options.changes};
  const ChangesResult result =
      MeasureChanges(changes, receipts, [&](int change) { return upstream.Change(change); });
  std::string json = ToJson(changes, receipts, result);
  json.back() = ',';
  const auto append = [](std::string* out, double ms) { absl::StrAppendFormat(out, "%.3f", ms); };
  std::cout << json << R"( "all_read_ms": [)" << absl::StrJoin(upstream.reads(), ", ", append)
            << "]}" << std::endl;
  return result.complete;
}

}  // namespace finetune::bench
