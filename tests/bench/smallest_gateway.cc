// The smallest gateway from gRPC to Segmind's API: what is left of ours when it keeps nothing and
// checks nothing. A callback server that makes the same call with a libcurl multi handle on one
// thread, and answers the body as it came. Prints its port. For measurements only.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "tests/bench/loopback.h"
#include "tests/bench/upstream_call.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

// Makes calls on a thread of its own. Thread-safe.
class Upstream {
 public:
  // On that thread.
  using Done = std::function<void(int code, const std::string& body)>;

  Upstream(std::string url, std::vector<std::string> headers)
      : url_(std::move(url)), headers_(std::move(headers)), thread_([this] { Run(); }) {}

  void Start(UpstreamCall call, Done done) {
    {
      std::lock_guard lock(mu_);
      queue_.emplace_back(std::move(call), std::move(done));
    }
    curl_multi_wakeup(multi_);
  }

 private:
  struct Running {
    std::unique_ptr<UpstreamHandle> handle;
    Done done;
  };

  void Run() {
    while (true) {
      std::deque<std::pair<UpstreamCall, Done>> added;
      {
        std::lock_guard lock(mu_);
        added.swap(queue_);
      }
      for (auto& [call, done] : added) Add(call, std::move(done));
      int running = 0, left = 0, events = 0;
      curl_multi_perform(multi_, &running);
      while (CURLMsg* message = curl_multi_info_read(multi_, &left)) End(message->easy_handle);
      curl_multi_poll(multi_, nullptr, 0, 1000, &events);
    }
  }

  void Add(const UpstreamCall& call, Done done) {
    if (idle_.empty()) idle_.push_back(std::make_unique<UpstreamHandle>(url_, headers_));
    std::unique_ptr<UpstreamHandle> handle = std::move(idle_.back());
    idle_.pop_back();
    CURL* const curl = handle->Prepare(call);
    curl_multi_add_handle(multi_, curl);
    running_[curl] = {std::move(handle), std::move(done)};
  }

  void End(CURL* curl) {
    curl_multi_remove_handle(multi_, curl);
    Running ended = std::move(running_[curl]);
    running_.erase(curl);
    ended.done(ended.handle->code(), ended.handle->body());
    idle_.push_back(std::move(ended.handle));
  }

  const std::string url_;
  const std::vector<std::string> headers_;
  CURLM* const multi_ = curl_multi_init();

  std::mutex mu_;
  std::deque<std::pair<UpstreamCall, Done>> queue_;  // Guarded by mu_.

  // Its thread only.
  std::map<CURL*, Running> running_;
  std::vector<std::unique_ptr<UpstreamHandle>> idle_;
  std::thread thread_;
};

using Service = pb::FineTuneService::WithRawCallbackMethod_GetFineTune<
    pb::FineTuneService::WithRawCallbackMethod_CreateFineTune<
        pb::FineTuneService::WithRawCallbackMethod_CreateUploadUrl<pb::FineTuneService::Service>>>;

class SmallestGateway : public Service {
 public:
  explicit SmallestGateway(Upstream& upstream) : upstream_(upstream) {}

  grpc::ServerUnaryReactor* GetFineTune(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override {
    const auto parsed = Parse<pb::GetFineTuneRequest>(*request);
    return PassOn(ListCall(), context, response);
  }

  grpc::ServerUnaryReactor* CreateFineTune(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override {
    const auto parsed = Parse<pb::CreateFineTuneRequest>(*request);
    return PassOn(
        SubmitCall(parsed.fine_tune().display_name(), parsed.fine_tune().data_source_uri()),
        context, response);
  }

  grpc::ServerUnaryReactor* CreateUploadUrl(grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) override {
    const auto parsed = Parse<pb::CreateUploadUrlRequest>(*request);
    return PassOn(UploadUrlCall(parsed.file_name()), context, response);
  }

 private:
  template <typename Request>
  static Request Parse(grpc::ByteBuffer bytes) {
    Request request;
    grpc::SerializationTraits<Request>::Deserialize(&bytes, &request);
    return request;
  }

  grpc::ServerUnaryReactor* PassOn(UpstreamCall call, grpc::CallbackServerContext* context,
                                   grpc::ByteBuffer* response) {
    auto* reactor = context->DefaultReactor();
    upstream_.Start(std::move(call), [reactor, response](int code, const std::string& body) {
      const grpc::Slice slice(body);
      *response = grpc::ByteBuffer(&slice, 1);
      reactor->Finish(code == 200 ? grpc::Status::OK
                                  : grpc::Status(grpc::StatusCode::UNAVAILABLE, "no answer"));
    });
    return reactor;
  }

  Upstream& upstream_;
};

}  // namespace
}  // namespace finetune::bench

int main(int argc, char** argv) {
  std::string url, key;
  CLI::App app("The smallest gateway, for comparisons");
  app.add_option("--upstream-url", url)->required();
  app.add_option("--api-key", key)->required();
  CLI11_PARSE(app, argc, argv);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  finetune::bench::Upstream upstream(url, {"x-api-key: " + key});
  finetune::bench::SmallestGateway service(upstream);
  grpc::ServerBuilder builder;
  finetune::bench::Serve(builder, service);
}
