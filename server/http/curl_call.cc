#include "server/http/curl_call.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/http/curl_status.h"

namespace finetune {
namespace {

constexpr long kReceiveBuffer = 32L << 10;

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return c == '\r' || c == '\n' || c == 0; });
}

}  // namespace

CurlCall::CurlCall(HttpRequest request) : request_(std::move(request)), start_time_(absl::Now()) {}

CurlCall::~CurlCall() {
  handle_.reset();
  // The key is among them.
  for (curl_slist* header = headers_; header != nullptr; header = header->next)
    OPENSSL_cleanse(header->data, std::strlen(header->data));
  curl_slist_free_all(headers_);
}

absl::Status CurlCall::Prepare(const CurlCallOptions& options) {
  const absl::Duration left = request_.deadline - absl::Now();
  if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("the deadline has passed");
  handle_.reset(curl_easy_init());
  if (handle_ == nullptr) return absl::InternalError("libcurl has no memory");
  CURL* const curl = handle_.get();
  if (HasControl(request_.url) ||
      curl_easy_setopt(curl, CURLOPT_URL, request_.url.c_str()) != CURLE_OK)
    return absl::InvalidArgumentError("the URL cannot be used");
  // Zero would mean no limit.
  if (left < absl::Hours(24)) {
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                     static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(left))));
  }
  SetConnection(options);
  if (absl::Status status = SetBody(); !status.ok()) return status;
  if (absl::Status status = SetHeaders(); !status.ok()) return status;
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &CurlCall::OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &CurlCall::OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  return absl::OkStatus();
}

void CurlCall::SetConnection(const CurlCallOptions& options) {
  CURL* const curl = handle_.get();
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kReceiveBuffer);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, options.user_agent.c_str());
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(options.connect_timeout)));
  curl_easy_setopt(curl, CURLOPT_MAXLIFETIME_CONN,
                   static_cast<long>(absl::ToInt64Seconds(options.max_connection_age)));
  // Asks for bodies as they are, and unpacks those that come packed all the same.
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "identity");
  const std::string& ca_file = request_.ca_file.empty() ? options.ca_file : request_.ca_file;
  if (!ca_file.empty()) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file.c_str());
    // Else curl keeps for a day what the file said.
    curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, 0L);
  }
  if (!options.use_environment_proxy) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (request_.fresh_connection) curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
  // Curl has a retry of its own for HTTP/2 streams that the server refuses. And without TLS there
  // is no HTTP/2 to wait for.
  if (request_.fresh_connection || absl::StartsWithIgnoreCase(request_.url, "http:")) {
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  } else {
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(curl, CURLOPT_PIPEWAIT, 1L);
  }
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

bool CurlCall::AddHeader(const std::string& line) {
  curl_slist* const longer = curl_slist_append(headers_, line.c_str());
  if (longer != nullptr) headers_ = longer;
  return longer != nullptr;
}

absl::Status CurlCall::SetHeaders() {
  // An empty `Expect` keeps curl from waiting for a 100 that Segmind never sends.
  bool good = AddHeader("Expect:");
  for (const auto& [name, value] : request_.headers) {
    if (HasControl(name) || HasControl(value))
      return absl::InvalidArgumentError("a header cannot be sent");
    // A semicolon is how curl is told that the value is empty.
    good = good &&
           AddHeader(value.empty() ? absl::StrCat(name, ";") : absl::StrCat(name, ": ", value));
  }
  for (const auto& [name, value] : request_.secret_headers) {
    if (HasControl(name) || HasControl(value.Reveal()))
      return absl::InvalidArgumentError("a header cannot be sent");
    std::string line = absl::StrCat(name, ": ", value.Reveal());
    good = good && AddHeader(line);
    OPENSSL_cleanse(line.data(), line.size());
  }
  if (!good) return absl::InternalError("libcurl has no memory");
  curl_easy_setopt(handle_.get(), CURLOPT_HTTPHEADER, headers_);
  return absl::OkStatus();
}

size_t CurlCall::OnHeader(char* data, size_t size, size_t count, void* self) {
  HttpResponse& response = static_cast<CurlCall*>(self)->response_;
  const absl::string_view line(data, size * count);
  if (absl::StartsWith(line, "HTTP/")) {
    // A further answer, after a 100.
    response.headers.clear();
  } else if (const size_t colon = line.find(':'); colon != absl::string_view::npos) {
    response.headers.emplace_back(
        absl::AsciiStrToLower(absl::StripAsciiWhitespace(line.substr(0, colon))),
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
  }
  return size * count;
}

size_t CurlCall::OnBody(char* data, size_t size, size_t count, void* self) {
  auto& call = *static_cast<CurlCall*>(self);
  std::string& body = call.response_.body;
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

HttpResult CurlCall::Completed(CURLcode code) {
  if (code != CURLE_OK) return Failed(StatusOf(code));
  long http_code = 0;
  curl_easy_getinfo(handle(), CURLINFO_RESPONSE_CODE, &http_code);
  response_.code = static_cast<int>(http_code);
  return {.response = std::move(response_), .sent = true, .start_time = start_time_};
}

HttpResult CurlCall::Failed(absl::Status status) {
  return {.status = std::move(status), .sent = MayHaveBeenSent(), .start_time = start_time_};
}

// Curl notes the time just before it begins to send the request, when names are resolved and the
// connection and TLS stand: without that note no byte of the request has left.
bool CurlCall::MayHaveBeenSent() const {
  if (handle_ == nullptr) return false;
  curl_off_t before_send = 1;
  long bytes = 1;
  return curl_easy_getinfo(handle(), CURLINFO_PRETRANSFER_TIME_T, &before_send) != CURLE_OK ||
         curl_easy_getinfo(handle(), CURLINFO_REQUEST_SIZE, &bytes) != CURLE_OK ||
         before_send != 0 || bytes != 0;
}

absl::Status CurlCall::StatusOf(CURLcode code) const {
  if (code == CURLE_WRITE_ERROR && body_too_long_)
    return absl::ResourceExhaustedError("the answer is too long");
  return StatusOfCurl(code, request_.deadline);
}

}  // namespace finetune
