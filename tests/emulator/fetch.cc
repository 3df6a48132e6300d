#include "tests/emulator/fetch.h"

#include <curl/curl.h>

#include <memory>

namespace finetune::emulator {
namespace {

size_t OnBytes(char* bytes, size_t size, size_t count, void* cls) {
  const auto* request = static_cast<const FetchRequest*>(cls);
  if (request->on_bytes && !request->on_bytes({bytes, size * count})) return 0;
  return size * count;
}

int OnProgress(void* cls, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* request = static_cast<const FetchRequest*>(cls);
  return request->cancelled != nullptr && *request->cancelled ? 1 : 0;
}

// A handle per thread keeps its connections alive between calls.
CURL* ThreadHandle() {
  struct Cleanup {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  };
  thread_local std::unique_ptr<CURL, Cleanup> handle(curl_easy_init());
  return handle.get();
}

}  // namespace

bool IsHttpUrl(std::string_view url) {
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parts(curl_url(), curl_url_cleanup);
  if (curl_url_set(parts.get(), CURLUPART_URL, std::string(url).c_str(), 0) != CURLUE_OK) {
    return false;
  }
  char* scheme = nullptr;
  if (curl_url_get(parts.get(), CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK) return false;
  const std::string_view word(scheme);
  const bool known = word == "http" || word == "https";
  curl_free(scheme);
  return known;
}

FetchResult Fetch(const FetchRequest& request) {
  CURL* curl = ThreadHandle();
  curl_easy_reset(curl);
  curl_slist* headers = nullptr;
  for (const std::string& header : request.headers) {
    headers = curl_slist_append(headers, header.c_str());
  }
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout_seconds * 1000));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBytes);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &request);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &request);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (request.method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.c_str());
  }
  const CURLcode code = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  FetchResult result;
  if (code != CURLE_OK) {
    result.failure = curl_easy_strerror(code);
    return result;
  }
  long status = 0;
  curl_off_t length = -1;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  result.code = static_cast<int>(status);
  if (length >= 0) result.content_length = length;
  return result;
}

}  // namespace finetune::emulator
