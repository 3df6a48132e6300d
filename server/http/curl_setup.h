#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/url.h"

namespace finetune {

// What small calls and streams set up in the same way.

// How to connect to a host.
struct CurlOptions {
  std::string user_agent;
  // PEM certificates to trust instead of the system's bundle (its directory is trusted all the
  // same). Without it SSL_CERT_FILE and SSL_CERT_DIR count, as everywhere with OpenSSL.
  std::string ca_file;
  // For the name, the connection, which alone gets 3 s, and TLS. Where the first of several name
  // servers is silent, each name takes 5 s.
  absl::Duration connect_timeout = absl::Seconds(15);
  // Whether http_proxy and the like in the environment count.
  bool use_environment_proxy = true;
};

struct FreeCurlHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using CurlHandle = std::unique_ptr<CURL, FreeCurlHandle>;

// Initialises libcurl. May be called any number of times, from any thread. INTERNAL if that fails.
absl::Status InitCurl();

// The proxy for `url`, empty for none.
std::string ProxyOf(const CurlOptions& options, const Url& url);

// A handle for one request to `url` that ends at `deadline` and follows no redirect. `spare`: one
// whose request is over, after curl_easy_reset, which costs less than another. DEADLINE_EXCEEDED,
// INTERNAL.
absl::StatusOr<CurlHandle> MakeCurlHandle(const CurlOptions& options, const Url& url,
                                          const std::string& proxy, absl::Time deadline,
                                          CurlHandle spare = nullptr);

// A connection that is not answered within 3 s does not come about. For sockets of one's own
// CURLOPT_SOCKOPTFUNCTION; all others have it.
void LimitConnecting(curl_socket_t socket);

// Where a request goes, for the messages of its failures: the host, and the proxy if there is one,
// without what may be secret.
std::string WayTo(const Url& url, const std::string& proxy);

// StatusOfCurl, with where the request went in front, and with what is wrong with the certificate
// of the other side.
absl::Status StatusOfExchange(CURLcode code, absl::Time deadline, const std::string& way,
                              CURL* handle);

// The headers of one request, wiped when they are destroyed, because keys are among them. Must
// outlive the handle that they are set on. Not thread-safe.
class CurlHeaders {
 public:
  CurlHeaders() = default;
  ~CurlHeaders();
  CurlHeaders(const CurlHeaders&) = delete;
  CurlHeaders& operator=(const CurlHeaders&) = delete;

  // INVALID_ARGUMENT for text that cannot be part of a header; INTERNAL.
  absl::Status Add(std::string_view name, std::string_view value);
  // An empty one keeps curl from sending its own.
  absl::Status Suppress(std::string_view name);
  curl_slist* list() const { return list_; }

 private:
  absl::Status Append(const std::string& line);

  curl_slist* list_ = nullptr;
};

}  // namespace finetune
