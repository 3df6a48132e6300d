#include "server/http/curl_stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/http/curl_status.h"

namespace finetune {
namespace {

constexpr long kBuffer = 512L << 10;
constexpr long kAskMs = 500;
constexpr size_t kMaxDropped = 64 << 10;

bool IsRedirect(int code) {
  return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

}  // namespace

CurlStream::CurlStream(const StreamRequest& request, const Url& url, HttpStreamListener& listener)
    : request_(request), url_(url), listener_(listener) {}

absl::Status CurlStream::Prepare(const CurlOptions& options, const AddressPolicy& policy) {
  RETURN_IF_ERROR(request_.foreign ? policy.CheckForeign(url_) : policy.CheckTransfer(url_));
  const std::string proxy = ProxyOf(options, url_);
  // A proxy judges itself what it connects to, and where the proxy is, is for the operator to
  // decide.
  any_address_ = policy.MayBePrivate(url_) || !proxy.empty();
  via_ = WayTo(url_, proxy);
  ASSIGN_OR_RETURN(handle_, MakeCurlHandle(options, url_, proxy, request_.deadline));
  CURL* const curl = handle();
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kBuffer);
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, kBuffer);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, &CurlStream::OnOpenSocket);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, this);
  return SetRequest();
}

absl::Status CurlStream::SetRequest() {
  CURL* const curl = handle();
  if (request_.ask_first) {
    RETURN_IF_ERROR(headers_.Add("Expect", "100-continue"));
    curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, kAskMs);
  } else {
    // Curl would wait a second for a 100 if the server sends none.
    RETURN_IF_ERROR(headers_.Suppress("Expect"));
  }
  for (const auto& [name, value] : request_.headers) RETURN_IF_ERROR(headers_.Add(name, value));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers_.list());
  if (request_.method == "PUT") {
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.body_size));
    // The body passes only once, so it could not be sent again if a kept connection turned out to
    // be closed.
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, &CurlStream::OnSend);
    curl_easy_setopt(curl, CURLOPT_READDATA, this);
  } else if (request_.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  }
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &CurlStream::OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &CurlStream::OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  return absl::OkStatus();
}

curl_socket_t CurlStream::OnOpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address) {
  auto& stream = *static_cast<CurlStream*>(self);
  if (!stream.any_address_ && !IsPublicAddress(&address->addr)) {
    stream.refused_address_ = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

size_t CurlStream::OnHeader(char* data, size_t size, size_t count, void* self) {
  return static_cast<CurlStream*>(self)->TakeHeader({data, size * count}) ? size * count : 0;
}

bool CurlStream::TakeHeader(absl::string_view line) {
  if (!head_.Take(line)) return false;
  if (!head_.complete() || told_head_ || redirected_) return true;
  const HttpResponse& answer = head_.answer();
  if (request_.follow_redirects && IsRedirect(answer.code) && !answer.Header("location").empty()) {
    redirected_ = true;
    return true;
  }
  told_head_ = true;
  listener_.OnHead(answer);
  return true;
}

size_t CurlStream::OnBody(char* data, size_t size, size_t count, void* self) {
  auto& stream = *static_cast<CurlStream*>(self);
  if (stream.redirected_) {
    // Nobody reads the page that comes with a redirect. For a long one the connection is not worth
    // keeping.
    stream.dropped_ += size * count;
    return stream.dropped_ <= kMaxDropped ? size * count : 0;
  }
  if (!stream.listener_.OnData({data, size * count})) return CURL_WRITEFUNC_PAUSE;
  stream.got_bytes_ = true;
  return size * count;
}

bool CurlStream::EndRound() {
  const bool got_bytes = std::exchange(got_bytes_, false);
  if (std::exchange(flowing_, got_bytes) && !got_bytes) listener_.OnDry();
  return got_bytes;
}

size_t CurlStream::OnSend(char* data, size_t size, size_t count, void* self) {
  const size_t sent = static_cast<CurlStream*>(self)->listener_.OnSend(data, size * count);
  return sent > 0 ? sent : CURL_READFUNC_PAUSE;
}

bool CurlStream::awaits_name() const {
  // Of an address, too, curl notes when it knew it.
  curl_off_t found = 0;
  return handle_ != nullptr &&
         curl_easy_getinfo(handle(), CURLINFO_NAMELOOKUP_TIME_T, &found) == CURLE_OK && found == 0;
}

absl::StatusOr<Url> CurlStream::RedirectUrl() const {
  auto url = url_.Resolve(head_.answer().Header("location"));
  if (url.ok()) return url;
  return absl::InvalidArgumentError(
      absl::StrCat("it is redirected to a URL that ", url.status().message()));
}

absl::Status CurlStream::StatusOf(CURLcode code) const {
  if (head_.too_long()) return absl::UnavailableError("the answer's headers are too long");
  if (code == CURLE_OK)
    return told_head_ ? absl::OkStatus() : absl::UnavailableError("there was no answer");
  if (code == CURLE_COULDNT_CONNECT && refused_address_)
    return absl::PermissionDeniedError(absl::StrCat("the host '", ValidUtf8(url_.host(), 100),
                                                    "' has an address that is not public"));
  return StatusOfExchange(code, request_.deadline, via_, handle());
}

}  // namespace finetune
