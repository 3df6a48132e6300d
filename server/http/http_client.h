#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/cancellation.h"
#include "server/base/secret.h"

namespace finetune {

// One HTTP call. The body is text, or a multipart form when `form` is not empty.
struct HttpRequest {
  std::string method = "GET";  // Also with a body, whatever the method.
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  // Those whose values must never be shown, such as x-api-key.
  std::vector<std::pair<std::string, Secret>> secret_headers;
  std::string body;
  std::vector<std::pair<std::string, std::string>> form;
  // PEM certificates to trust instead of the client's, for this call.
  std::string ca_file;
  // The call is given up then.
  absl::Time deadline = absl::InfiniteFuture();
  // Ends the call with CANCELLED, wherever it is by then; may be null.
  std::shared_ptr<const Cancellation> cancellation;
  // A longer answer fails with RESOURCE_EXHAUSTED, whether it is too long as received or unpacked.
  size_t max_body_bytes = size_t{256} << 20;
  // For a request that must not be sent twice: it gets a connection of its own. On a reused
  // connection that the other side has just closed, the transport would send it again by itself,
  // and `sent` could not be known.
  bool fresh_connection = false;
  // Asked on the client's thread once there is a connection, just before the first byte; if false,
  // nothing is sent, and the call fails with ABORTED. Only for a fresh connection, whose bytes do
  // not outlive the call: what the other side has not acknowledged by its end is not sent again.
  std::function<bool()> may_send;
};

// An answer with any code. A transport that brings one has succeeded, whatever the code says.
struct HttpResponse {
  int code = 0;
  // Names in lower case.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  // The first header of that (lower-case) name, or empty.
  std::string_view Header(std::string_view name) const;
};

// The result of a call. An answer with any code is a success of the transport; `status` is only
// about the transport: UNAVAILABLE (no connection, reset), DEADLINE_EXCEEDED, CANCELLED, ABORTED
// (may_send said no), RESOURCE_EXHAUSTED (body or headers too long), DATA_LOSS (a body shorter than
// announced), INVALID_ARGUMENT (a URL or a header that cannot be sent). Its message names the host,
// and shows no path or header.
struct HttpResult {
  absl::Status status;
  HttpResponse response;  // Only when status is OK.
  // Whether a byte of the request may have reached the other side. False is certain.
  bool sent = false;
  // When the call was handed to the transport.
  absl::Time start_time;
};

// The seam below everything that speaks HTTP (CurlHttpClient; fakes in tests). Thread-safe.
class HttpClient {
 public:
  using Done = absl::AnyInvocable<void(HttpResult) &&>;

  virtual ~HttpClient() = default;

  // `done` runs exactly once, with no lock held, on the client's thread, on shutdown and
  // cancellation too: it must not block. After Shutdown it runs within Start.
  virtual void Start(HttpRequest request, Done done) = 0;

  // Fails what is under way, and what comes later, with CANCELLED. Idempotent.
  virtual void Shutdown() = 0;
};

}  // namespace finetune
