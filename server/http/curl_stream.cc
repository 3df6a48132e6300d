#include "server/http/curl_stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/http/curl_status.h"

namespace finetune {
namespace {

constexpr long kBuffer = 512L << 10;
constexpr size_t kMaxHeaders = 200;
constexpr size_t kMaxDropped = 64 << 10;

bool HasControl(absl::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return c == '\r' || c == '\n' || c == 0; });
}

// Whether curl will find a proxy for such URLs; `no_proxy` may still exempt one.
bool EnvironmentHasProxy(bool secure) {
  for (const char* name : {secure ? "https_proxy" : "http_proxy", secure ? "HTTPS_PROXY" : "",
                           "all_proxy", "ALL_PROXY"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != 0) return true;
  }
  return false;
}

bool IsRedirect(int code) {
  return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

}  // namespace

CurlStream::CurlStream(const StreamRequest& request, const std::string& url,
                       HttpStreamListener& listener)
    : request_(request), url_(url), listener_(listener) {}

CurlStream::~CurlStream() {
  handle_.reset();
  curl_slist_free_all(headers_);
}

absl::Status CurlStream::Prepare(const CurlStreamOptions& options, const AddressPolicy& policy) {
  RETURN_IF_ERROR(request_.foreign ? policy.CheckForeign(url_) : policy.CheckTransfer(url_));
  ASSIGN_OR_RETURN(target_, ParseTarget(url_));
  any_address_ = policy.MayBePrivate(target_) ||
                 (options.use_environment_proxy && EnvironmentHasProxy(target_.secure));
  const absl::Duration left = request_.deadline - absl::Now();
  if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("the deadline has passed");
  handle_.reset(curl_easy_init());
  if (handle_ == nullptr) return absl::InternalError("libcurl has no memory");
  if (curl_easy_setopt(handle(), CURLOPT_URL, url_.c_str()) != CURLE_OK)
    return absl::InvalidArgumentError("the URL cannot be used");
  // Zero would mean no limit.
  if (left < absl::Hours(24))
    curl_easy_setopt(handle(), CURLOPT_TIMEOUT_MS,
                     static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(left))));
  SetConnection(options);
  return SetRequest();
}

void CurlStream::SetConnection(const CurlStreamOptions& options) {
  CURL* const curl = handle();
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kBuffer);
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, kBuffer);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, options.user_agent.c_str());
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(options.connect_timeout)));
  if (!options.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options.ca_file.c_str());
  if (!options.use_environment_proxy) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, &CurlStream::OnOpenSocket);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, this);
}

absl::Status CurlStream::SetRequest() {
  CURL* const curl = handle();
  // Curl would wait a second for a 100 from a server that sends none.
  headers_ = curl_slist_append(nullptr, "Expect:");
  for (const auto& [name, value] : request_.headers) {
    if (HasControl(name) || HasControl(value))
      return absl::InvalidArgumentError("a header cannot be sent");
    curl_slist* const longer = curl_slist_append(headers_, absl::StrCat(name, ": ", value).c_str());
    if (longer == nullptr) return absl::InternalError("libcurl has no memory");
    headers_ = longer;
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers_);
  if (request_.method == "PUT") {
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.body_size));
    // The body passes but once, so that it cannot be sent again when a kept connection turns out
    // to be closed.
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
  static_cast<CurlStream*>(self)->TakeHeader({data, size * count});
  return size * count;
}

void CurlStream::TakeHeader(absl::string_view line) {
  if (told_head_ || redirected_) return;  // Trailers.
  if (absl::StartsWith(line, "HTTP/")) {
    head_ = {};
    const size_t space = line.find(' ');
    if (space != line.npos && !absl::SimpleAtoi(line.substr(space + 1, 3), &head_.code))
      head_.code = 0;
    return;
  }
  if (const size_t colon = line.find(':'); colon != line.npos) {
    if (head_.headers.size() < kMaxHeaders)
      head_.headers.emplace_back(
          absl::AsciiStrToLower(absl::StripAsciiWhitespace(line.substr(0, colon))),
          std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
    return;
  }
  if (!absl::StripAsciiWhitespace(line).empty() || head_.code < 200) return;
  if (request_.follow_redirects && IsRedirect(head_.code) && !head_.Header("location").empty()) {
    redirected_ = true;
    return;
  }
  told_head_ = true;
  listener_.OnHead(head_);
}

size_t CurlStream::OnBody(char* data, size_t size, size_t count, void* self) {
  auto& stream = *static_cast<CurlStream*>(self);
  if (stream.redirected_) {
    // Nobody reads the page that comes with a redirect. A long one is not worth the connection.
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

std::string CurlStream::RedirectUrl() const {
  if (!redirected_) return "";
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  const std::string location(head_.Header("location"));
  char* text = nullptr;
  if (url == nullptr || curl_url_set(url.get(), CURLUPART_URL, url_.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK ||
      curl_url_get(url.get(), CURLUPART_URL, &text, 0) != CURLUE_OK)
    return "";
  std::string absolute = text;
  curl_free(text);
  return absolute;
}

absl::Status CurlStream::StatusOf(CURLcode code) const {
  if (code == CURLE_OK)
    return told_head_ ? absl::OkStatus() : absl::UnavailableError("there was no answer");
  if (code == CURLE_COULDNT_CONNECT && refused_address_)
    return absl::PermissionDeniedError(absl::StrCat("the host '", ValidUtf8(target_.host, 100),
                                                    "' has an address that is not public"));
  return StatusOfCurl(code, request_.deadline);
}

}  // namespace finetune
