#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/secret.h"
#include "server/base/trace.h"
#include "server/http/http_client.h"

namespace finetune {

// One HTTP call whose body is too large to hold.
struct StreamRequest {
  std::string method = "GET";  // GET, HEAD, or PUT with a body.
  Secret url;                  // Signed URLs are as good as keys.
  std::vector<std::pair<std::string, std::string>> headers;
  // The exact size, sent as Content-Length. Only for PUT.
  int64_t body_size = 0;
  // Waits, for half a second at most, until the other side says that it takes the body, so that a
  // body that it refuses is not sent. Only for PUT.
  bool ask_first = false;
  bool follow_redirects = false;
  // The URL is a caller's: any public host will do, not only the transfer hosts.
  bool foreign = false;
  absl::Time deadline = absl::InfiniteFuture();
  // For a span here; not sent along, because a signature covers the headers.
  TraceContext trace;
};

// Hears about one stream. Called only on the streamer's thread, with no lock held, so it must not
// block.
class HttpStreamListener {
 public:
  virtual ~HttpStreamListener() = default;

  // The head of the last answer, whatever its code; `body` is empty. Not called if there was none.
  virtual void OnHead(const HttpResponse& head) = 0;
  // The next bytes of that answer's body, at most 512 KiB. False: not now; they come again after a
  // Resume, and nothing more is read from the other side until then.
  virtual bool OnData(std::string_view bytes) = 0;
  // After bytes: none have followed for about a millisecond. Bytes that were held back to make
  // larger pieces should now go on.
  virtual void OnDry() {}
  // Writes the next bytes of the request's body to `to`. 0: none yet; asked again after a Resume.
  virtual size_t OnSend(char* to, size_t room) = 0;
  // The last call, made exactly once. OK if the answer is complete, whatever its code.
  // UNAVAILABLE (no connection, reset), DATA_LOSS (a body shorter than announced),
  // DEADLINE_EXCEEDED, CANCELLED, PERMISSION_DENIED (the address policy, naming the host),
  // INVALID_ARGUMENT (an URL that cannot be used). The message shows no URL.
  virtual void OnEnd(absl::Status status) = 0;
};

// The owner's handle of a stream. Thread-safe; does nothing after OnEnd.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  // There is room, or there are bytes, again.
  virtual void Resume() = 0;
  // Ends it with CANCELLED, and its connection with it.
  virtual void Cancel() = 0;
};

// The seam for what moves datasets and weights (CurlStreamer; fakes in tests). Thread-safe.
class HttpStreamer {
 public:
  virtual ~HttpStreamer() = default;

  // `listener` is kept until its OnEnd, which runs within Start after Shutdown.
  virtual std::shared_ptr<HttpStream> Start(StreamRequest request,
                                            std::shared_ptr<HttpStreamListener> listener) = 0;

  // Ends what is under way, and what comes later, with CANCELLED. Idempotent.
  virtual void Shutdown() = 0;
};

}  // namespace finetune
