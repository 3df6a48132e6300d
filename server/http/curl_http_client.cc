#include "server/http/curl_http_client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/status_macros.h"
#include "server/http/curl_call.h"

namespace finetune {
namespace {

absl::Status Cancelled() { return absl::CancelledError("the call was cancelled"); }

}  // namespace

// Wakes the curl thread for calls that are cancelled, which may outlive it. Thread-safe.
class CurlHttpClient::Waker {
 public:
  explicit Waker(Multi& multi) : multi_(&multi) {}

  void Wake() ABSL_LOCKS_EXCLUDED(mu_);
  void Close() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    multi_ = nullptr;
  }

 private:
  Mutex mu_;
  Multi* multi_ ABSL_GUARDED_BY(mu_);
};

// A request under way: what CurlCall needs, and who is told of its end.
class CurlHttpClient::Call : public CurlCall {
 public:
  Call(HttpRequest request, Done done) : CurlCall(std::move(request)), done_(std::move(done)) {}

  void Finish(HttpResult result) { std::move(done_)(std::move(result)); }

 private:
  Done done_;
};

// The multi handle and the calls in it. On the curl thread only, except Wake.
class CurlHttpClient::Multi {
 public:
  static absl::StatusOr<std::unique_ptr<Multi>> Create(const Options& options) {
    auto multi = std::unique_ptr<Multi>(new Multi(curl_multi_init()));
    if (multi->handle_ == nullptr) return absl::InternalError("libcurl cannot be set up");
    curl_multi_setopt(multi->handle_, CURLMOPT_MAX_HOST_CONNECTIONS,
                      static_cast<long>(options.max_connections_per_host));
    curl_multi_setopt(multi->handle_, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    return multi;
  }
  ~Multi() {
    spare_.clear();
    curl_multi_cleanup(handle_);
  }

  void Wake() { curl_multi_wakeup(handle_); }

  void Add(std::unique_ptr<Call> call, const CurlCallOptions& options) {
    if (call->cancelled()) return call->Finish(call->Failed(Cancelled()));
    absl::Status status = call->Prepare(options, TakeSpare());
    if (status.ok() && curl_multi_add_handle(handle_, call->handle()) != CURLM_OK)
      status = absl::InternalError("libcurl does not take the request");
    if (!status.ok()) return call->Finish(call->Failed(std::move(status)));
    CURL* const handle = call->handle();
    running_.emplace(handle, std::move(call));
  }

  // Advances all calls, and finishes those that are done.
  void Perform() {
    int running = 0;
    curl_multi_perform(handle_, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(handle_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      const std::unique_ptr<Call> call = Take(running_.find(message->easy_handle));
      HttpResult result = call->Completed(code);
      if (code == CURLE_OK) Keep(call->TakeHandle());
      call->Finish(std::move(result));
    }
  }

  // Ends the calls for which nobody waits any longer.
  void EndCancelled() {
    std::vector<CURL*> cancelled;
    for (const auto& [handle, call] : running_)
      if (call->cancelled()) cancelled.push_back(handle);
    for (CURL* handle : cancelled) {
      const std::unique_ptr<Call> call = Take(running_.find(handle));
      call->Finish(call->Failed(Cancelled()));
    }
  }

  void Wait() {
    int events = 0;
    curl_multi_poll(handle_, nullptr, 0, /*timeout_ms=*/1000, &events);
  }

  void CancelAll() {
    while (!running_.empty()) {
      const std::unique_ptr<Call> call = Take(running_.begin());
      call->Finish(call->Failed(absl::CancelledError("the HTTP client is shut down")));
    }
  }

 private:
  using Running = absl::flat_hash_map<CURL*, std::unique_ptr<Call>>;

  // Enough for a call that follows another one; what a wave of calls needed is released.
  static constexpr size_t kMostSpare = 4;

  explicit Multi(CURLM* handle) : handle_(handle) {}

  CurlHandle TakeSpare() {
    if (spare_.empty()) return nullptr;
    CurlHandle spare = std::move(spare_.back());
    spare_.pop_back();
    return spare;
  }

  // Clears what was set for the last call, whose headers and body are about to go.
  void Keep(CurlHandle handle) {
    if (spare_.size() >= kMostSpare) return;
    curl_easy_reset(handle.get());
    spare_.push_back(std::move(handle));
  }

  std::unique_ptr<Call> Take(Running::iterator entry) {
    std::unique_ptr<Call> call = std::move(entry->second);
    running_.erase(entry);
    curl_multi_remove_handle(handle_, call->handle());
    return call;
  }

  CURLM* const handle_;
  Running running_;
  std::vector<CurlHandle> spare_;
};

void CurlHttpClient::Waker::Wake() {
  MutexLock lock(mu_);
  if (multi_ != nullptr) multi_->Wake();
}

absl::StatusOr<std::unique_ptr<CurlHttpClient>> CurlHttpClient::Create(Options options) {
  RETURN_IF_ERROR(InitCurl());
  if (!options.ca_file.empty() && access(options.ca_file.c_str(), R_OK) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the CA file ", options.ca_file, " cannot be read"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Multi> multi, Multi::Create(options));
  return std::unique_ptr<CurlHttpClient>(new CurlHttpClient(std::move(options), std::move(multi)));
}

CurlHttpClient::CurlHttpClient(Options options, std::unique_ptr<Multi> multi)
    : options_(std::move(options)),
      multi_(std::move(multi)),
      waker_(std::make_shared<Waker>(*multi_)),
      thread_(options_.thread_name, [this] { Run(); }) {}

CurlHttpClient::~CurlHttpClient() {
  Shutdown();
  waker_->Close();
}

void CurlHttpClient::Start(HttpRequest request, Done done) {
  if (request.cancellation != nullptr)
    request.cancellation->OnCancelDo([waker = waker_] { waker->Wake(); });
  auto call = std::make_unique<Call>(std::move(request), std::move(done));
  {
    MutexLock lock(mu_);
    if (!stopping_) queue_.push_back(std::move(call));
  }
  if (call == nullptr) return multi_->Wake();
  call->Finish(call->Failed(absl::CancelledError("the HTTP client is shut down")));
}

void CurlHttpClient::Shutdown() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  multi_->Wake();
  thread_.Join();
}

void CurlHttpClient::Run() {
  const CurlCallOptions call_options{
      .curl = {.user_agent = options_.user_agent,
               .ca_file = options_.ca_file,
               .use_environment_proxy = options_.use_environment_proxy},
      .max_connection_age = options_.max_connection_age,
  };
  while (true) {
    std::deque<std::unique_ptr<Call>> added;
    bool stopping;
    {
      MutexLock lock(mu_);
      added.swap(queue_);
      stopping = stopping_;
    }
    for (auto& call : added) multi_->Add(std::move(call), call_options);
    if (stopping) break;
    multi_->EndCancelled();
    multi_->Perform();
    multi_->Wait();
  }
  multi_->CancelAll();
}

}  // namespace finetune
