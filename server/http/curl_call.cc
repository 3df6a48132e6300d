#include "server/http/curl_call.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/http/curl_status.h"

namespace finetune {
namespace {

constexpr long kReceiveBuffer = 32L << 10;

}  // namespace

CurlCall::CurlCall(HttpRequest request) : request_(std::move(request)), start_time_(SteadyNow()) {}

absl::Status CurlCall::Prepare(const CurlCallOptions& options, CurlHandle spare) {
  const auto url = Url::Parse(request_.url);
  if (!url.ok()) return absl::InvalidArgumentError("the URL cannot be used");
  CurlOptions shared = options.curl;
  if (!request_.ca_file.empty()) shared.ca_file = request_.ca_file;
  const std::string proxy = ProxyOf(shared, *url);
  via_ = WayTo(*url, proxy);
  ASSIGN_OR_RETURN(handle_,
                   MakeCurlHandle(shared, *url, proxy, request_.deadline, std::move(spare)));
  SetConnection(options, url->secure());
  RETURN_IF_ERROR(SetBody());
  RETURN_IF_ERROR(SetHeaders());
  CURL* const curl = handle_.get();
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &CurlCall::OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &CurlCall::OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &CurlCall::OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
  return absl::OkStatus();
}

void CurlCall::SetConnection(const CurlCallOptions& options, bool secure) {
  CURL* const curl = handle_.get();
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kReceiveBuffer);
  curl_easy_setopt(curl, CURLOPT_MAXLIFETIME_CONN,
                   static_cast<long>(absl::ToInt64Seconds(options.max_connection_age)));
  // Asks for unpacked bodies, and unpacks those that come packed all the same.
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "identity");
  if (request_.fresh_connection) curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
  if (request_.fresh_connection && request_.may_send) {
    curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, &CurlCall::OnReady);
    curl_easy_setopt(curl, CURLOPT_PREREQDATA, this);
    curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, &CurlCall::OnSocket);
    curl_easy_setopt(curl, CURLOPT_SOCKOPTDATA, this);
    curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, &CurlCall::CloseSocket);
  }
  // Curl itself retries HTTP/2 streams that the server refuses, which must not happen here. And
  // without TLS there is no HTTP/2 to wait for.
  if (request_.fresh_connection || !secure) {
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  } else {
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(curl, CURLOPT_PIPEWAIT, 1L);
  }
}

int CurlCall::OnReady(void* self, char*, char*, int, int) {
  auto& call = *static_cast<CurlCall*>(self);
  if (call.request_.may_send()) return CURL_PREREQFUNC_OK;
  call.stopped_before_sending_ = true;
  return CURL_PREREQFUNC_ABORT;
}

// Otherwise the kernel would go on for a quarter of an hour with sending what nobody acknowledges.
int CurlCall::OnSocket(void* self, curl_socket_t socket, curlsocktype) {
  LimitConnecting(socket);
  const absl::Duration left = static_cast<CurlCall*>(self)->request_.deadline - SteadyNow();
  const auto milliseconds = static_cast<unsigned>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(left), 1, 24 * 3600 * 1000));
  (void)setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
  return CURL_SOCKOPT_OK;
}

// A connection that ends with unacknowledged bytes is reset, which takes them back.
int CurlCall::CloseSocket(void*, curl_socket_t socket) {
  int unacknowledged = 0;
  if (ioctl(socket, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged > 0) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  return close(socket);
}

absl::Status CurlCall::SetBody() {
  CURL* const curl = handle_.get();
  if (!request_.form.empty()) {
    form_.reset(curl_mime_init(curl));
    for (const auto& [name, value] : request_.form) {
      curl_mimepart* part = curl_mime_addpart(form_.get());
      if (part == nullptr || curl_mime_name(part, name.c_str()) != CURLE_OK ||
          curl_mime_data(part, value.data(), value.size()) != CURLE_OK)
        return absl::InternalError("libcurl has no memory");
    }
    curl_easy_setopt(curl, CURLOPT_MIMEPOST, form_.get());
  } else if (!request_.body.empty() || request_.method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request_.body.data());
  } else if (request_.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    return absl::OkStatus();
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  return absl::OkStatus();
}

absl::Status CurlCall::SetHeaders() {
  // Otherwise curl would wait for a 100 that Segmind never sends.
  RETURN_IF_ERROR(headers_.Suppress("Expect"));
  for (const auto& [name, value] : request_.headers) RETURN_IF_ERROR(headers_.Add(name, value));
  for (const auto& [name, value] : request_.secret_headers)
    RETURN_IF_ERROR(headers_.Add(name, value.Reveal()));
  curl_easy_setopt(handle_.get(), CURLOPT_HTTPHEADER, headers_.list());
  return absl::OkStatus();
}

size_t CurlCall::OnHeader(char* data, size_t size, size_t count, void* self) {
  return static_cast<CurlCall*>(self)->head_.Take({data, size * count}) ? size * count : 0;
}

size_t CurlCall::OnBody(char* data, size_t size, size_t count, void* self) {
  auto& call = *static_cast<CurlCall*>(self);
  std::string& body = call.head_.answer().body;
  const size_t bytes = size * count;
  const size_t most = call.request_.max_body_bytes;
  if (body.empty()) {
    curl_off_t announced = -1;
    curl_easy_getinfo(call.handle(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (announced > 0) body.reserve(std::min<size_t>(announced, most));
  }
  if (bytes > most - body.size()) {
    call.body_too_long_ = true;
    return 0;
  }
  body.append(data, bytes);
  return bytes;
}

// Counts bytes as they arrive, before they are unpacked, because some unpack to nothing.
int CurlCall::OnProgress(void* self, curl_off_t, curl_off_t came, curl_off_t, curl_off_t) {
  auto& call = *static_cast<CurlCall*>(self);
  if (came < 0 || static_cast<uint64_t>(came) <= call.request_.max_body_bytes) return 0;
  call.body_too_long_ = true;
  return 1;
}

HttpResult CurlCall::Completed(CURLcode code) {
  if (code != CURLE_OK) return Failed(StatusOf(code));
  long http_code = 0;
  curl_easy_getinfo(handle(), CURLINFO_RESPONSE_CODE, &http_code);
  head_.answer().code = static_cast<int>(http_code);
  return {.response = std::move(head_.answer()), .sent = true, .start_time = start_time_};
}

HttpResult CurlCall::Failed(absl::Status status) {
  return {.status = std::move(status), .sent = MayHaveBeenSent(), .start_time = start_time_};
}

// Curl notes the time just before it begins to send the request, once names are resolved and the
// connection and TLS are up. Without that note, no byte of the request has left.
bool CurlCall::MayHaveBeenSent() const {
  if (handle_ == nullptr || stopped_before_sending_) return false;
  curl_off_t before_send = 1;
  long bytes = 1;
  return curl_easy_getinfo(handle(), CURLINFO_PRETRANSFER_TIME_T, &before_send) != CURLE_OK ||
         curl_easy_getinfo(handle(), CURLINFO_REQUEST_SIZE, &bytes) != CURLE_OK ||
         before_send != 0 || bytes != 0;
}

absl::Status CurlCall::StatusOf(CURLcode code) const {
  if (stopped_before_sending_) return absl::AbortedError("it was not to be sent any more");
  if (head_.too_long()) return absl::ResourceExhaustedError("the answer's headers are too long");
  if (body_too_long_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the answer is longer than ", request_.max_body_bytes, " bytes"));
  }
  return StatusOfExchange(code, request_.deadline, via_, handle());
}

}  // namespace finetune
