#include "server/http/curl_setup.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/absl_view.h"
#include "server/base/clock.h"
#include "server/http/curl_status.h"
#include "server/http/proxy.h"

namespace finetune {
namespace {

bool HasLineBreak(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return c == '\r' || c == '\n' || c == 0; });
}

std::string CertificateFault(CURL* handle) {
  long result = X509_V_OK;
  curl_easy_getinfo(handle, CURLINFO_SSL_VERIFYRESULT, &result);
  if (result == X509_V_OK) return "it is for another host";
  return X509_verify_cert_error_string(result);
}

const char* Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != 0 ? value : nullptr;
}

int OnSocket(void*, curl_socket_t socket, curlsocktype) {
  LimitConnecting(socket);
  return CURL_SOCKOPT_OK;
}

// Libcurl itself does not read OpenSSL's variables.
void SetTrust(const CurlOptions& options, CURL* curl) {
  const char* const file =
      options.ca_file.empty() ? Variable("SSL_CERT_FILE") : options.ca_file.c_str();
  const char* const folder = Variable("SSL_CERT_DIR");
  if (file != nullptr) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
  if (folder != nullptr) curl_easy_setopt(curl, CURLOPT_CAPATH, folder);
  // Otherwise curl would keep what the file said for a day.
  if (file != nullptr || folder != nullptr) curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, 0L);
}

}  // namespace

void LimitConnecting(curl_socket_t socket) {
  const int repeats = 1;  // After 1 s, and 2 s later it is over.
  (void)setsockopt(socket, IPPROTO_TCP, TCP_SYNCNT, &repeats, sizeof repeats);
}

absl::Status InitCurl() {
  // Once in the process and never undone, because other threads may be in libcurl until the end.
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) return absl::InternalError("libcurl cannot be initialised");
  return absl::OkStatus();
}

std::string ProxyOf(const CurlOptions& options, const Url& url) {
  if (!options.use_environment_proxy) return "";
  return ProxyFor(url, ProxyVariables());
}

std::string WayTo(const Url& url, const std::string& proxy) {
  std::string way = absl::StrCat(url.host(), ":", url.port());
  if (proxy.empty()) return way;
  // A proxy's URL may hold a password.
  absl::string_view shown = proxy;
  if (const size_t at = shown.rfind('@'); at != shown.npos) shown.remove_prefix(at + 1);
  if (const size_t scheme = shown.find("://"); scheme != shown.npos)
    shown.remove_prefix(scheme + 3);
  return absl::StrCat(way, " through the proxy ", shown.substr(0, shown.find('/')));
}

absl::Status StatusOfExchange(CURLcode code, absl::Time deadline, const std::string& way,
                              CURL* handle) {
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    return absl::UnavailableError(
        absl::StrCat(way, ": its certificate is not trusted: ", CertificateFault(handle)));
  }
  const absl::Status status = StatusOfCurl(code, deadline);
  return absl::Status(status.code(), absl::StrCat(way, ": ", status.message()));
}

absl::StatusOr<CurlHandle> MakeCurlHandle(const CurlOptions& options, const Url& url,
                                          const std::string& proxy, absl::Time deadline,
                                          CurlHandle spare) {
  const absl::Duration left = deadline - SteadyNow();
  if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("the deadline has passed");
  CurlHandle handle = std::move(spare);
  if (handle == nullptr) handle.reset(curl_easy_init());
  CURL* const curl = handle.get();
  if (curl == nullptr || curl_easy_setopt(curl, CURLOPT_URL, url.text().c_str()) != CURLE_OK)
    return absl::InternalError("libcurl has no memory");
  // Zero would mean no limit.
  if (left < absl::Hours(24))
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                     static_cast<long>(std::max<int64_t>(1, absl::ToInt64Milliseconds(left))));
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, &OnSocket);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, options.user_agent.c_str());
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(options.connect_timeout)));
  // Else whatever ends while its host's name is being looked for holds up the thread, and with it
  // all others, until the name server has answered or was given up.
  curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
  SetTrust(options, curl);
  // The proxy's own answer must not be taken for the server's.
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  // Set even if it is empty, so that curl does not read the environment itself.
  curl_easy_setopt(curl, CURLOPT_PROXY, proxy.c_str());
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
  return handle;
}

CurlHeaders::~CurlHeaders() {
  for (curl_slist* header = list_; header != nullptr; header = header->next)
    OPENSSL_cleanse(header->data, std::strlen(header->data));
  curl_slist_free_all(list_);
}

absl::Status CurlHeaders::Add(std::string_view name, std::string_view value) {
  if (HasLineBreak(name) || HasLineBreak(value))
    return absl::InvalidArgumentError("a header cannot be sent");
  // A semicolon tells curl that the value is empty.
  std::string line = value.empty() ? absl::StrCat(AbslView(name), ";")
                                   : absl::StrCat(AbslView(name), ": ", AbslView(value));
  absl::Status status = Append(line);
  OPENSSL_cleanse(line.data(), line.size());
  return status;
}

absl::Status CurlHeaders::Suppress(std::string_view name) {
  return Append(absl::StrCat(AbslView(name), ":"));
}

absl::Status CurlHeaders::Append(const std::string& line) {
  curl_slist* const longer = curl_slist_append(list_, line.c_str());
  if (longer == nullptr) return absl::InternalError("libcurl has no memory");
  list_ = longer;
  return absl::OkStatus();
}

}  // namespace finetune
