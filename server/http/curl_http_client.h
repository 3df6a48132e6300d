#pragma once

#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/http/http_client.h"

namespace finetune {

// HttpClient over libcurl's multi interface: one thread ("curl") owns all curl handles; other
// threads queue requests and wake it. Connections are kept and shared, with HTTP/2 if the server
// speaks it. Redirects are not followed, because the key must not be sent on. Done callbacks run on
// the curl thread. Thread-safe.
class CurlHttpClient : public HttpClient {
 public:
  struct Options {
    std::string thread_name = "curl";
    std::string user_agent = "segmind-finetune-gateway/" FINETUNE_VERSION;
    // PEM certificates to trust instead of the system's.
    std::string ca_file;
    // A kept connection is not reused once it is this old.
    absl::Duration max_connection_age = absl::Seconds(300);
    int max_connections_per_host = 8;
    // Whether http_proxy and its kin in the environment count.
    bool use_environment_proxy = true;
  };

  // INVALID_ARGUMENT if the CA file cannot be read; INTERNAL if libcurl cannot be set up.
  static absl::StatusOr<std::unique_ptr<CurlHttpClient>> Create(Options options);
  ~CurlHttpClient() override;

  void Start(HttpRequest request, Done done) override ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for the thread to end. Not from a callback.
  void Shutdown() override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class Call;
  class Multi;
  class Waker;

  CurlHttpClient(Options options, std::unique_ptr<Multi> multi);
  void Run() ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const Options options_;
  // Curl thread only, but for its Wake.
  const std::unique_ptr<Multi> multi_;
  const std::shared_ptr<Waker> waker_;

  Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<std::unique_ptr<Call>> queue_ ABSL_GUARDED_BY(mu_);
  Thread thread_;
};

}  // namespace finetune
