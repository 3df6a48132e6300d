#include "client/cli/http_transfer.h"

#include <curl/curl.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cpp/local_file.h"
#include "client/cpp/partial_file.h"
#include "client/cpp/weights_check.h"

namespace finetune::cli {
namespace {

constexpr long kStalledBytesPerSecond = 1;
constexpr long kStalledSeconds = 60;
// A shorter first piece of a body says nothing yet.
constexpr size_t kShortestTelling = 16;

struct CloseCurl {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(FILE* file) const { std::fclose(file); }
};
using Curl = std::unique_ptr<CURL, CloseCurl>;
using Headers = std::unique_ptr<curl_slist, CloseCurl>;

void Append(Headers& headers, const std::string& line) {
  headers.reset(curl_slist_append(headers.release(), line.c_str()));
}

Curl MakeCurl(const std::string& url) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  Curl curl(ready == CURLE_OK ? curl_easy_init() : nullptr);
  if (curl == nullptr) return curl;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, 15L);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_LIMIT, kStalledBytesPerSecond);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
  return curl;
}

absl::Status OfStorage(absl::Status status) {
  if (!status.ok()) status.SetPayload(kStorageFailure, absl::Cord());
  return status;
}

absl::Status StatusOfCode(long code) {
  const std::string message = absl::StrCat("the storage answered HTTP ", code);
  if (code >= 200 && code < 300) return absl::OkStatus();
  if (code == 401 || code == 403) return OfStorage(absl::PermissionDeniedError(message));
  if (code == 404 || code == 410) return OfStorage(absl::NotFoundError(message));
  if (code == 408 || code == 429 || code >= 500) return OfStorage(absl::UnavailableError(message));
  return OfStorage(absl::InternalError(message));
}

absl::Status StatusOfCurl(CURLcode code) {
  if (code == CURLE_OK) return absl::OkStatus();
  const std::string message =
      absl::StrCat("the transfer with the storage broke: ", curl_easy_strerror(code));
  const bool bad_url = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;
  return OfStorage(bad_url ? absl::InternalError(message) : absl::UnavailableError(message));
}

// What the callbacks of one GET share.
struct Fetching {
  PartialFile& file;
  const DownloadOptions& options;
  CURL* curl = nullptr;
  std::string etag = {};
  int64_t length = -1;
  // The body's encoding; empty if there is none.
  std::string encoding = {};
  bool begun = false;
  absl::Status failure = absl::OkStatus();
};

size_t OnHeader(char* bytes, size_t, size_t size, void* user) {
  auto& fetching = *static_cast<Fetching*>(user);
  const absl::string_view line(bytes, size);
  if (absl::StartsWith(line, "HTTP/")) {
    // These belong to the next answer, after a redirect.
    fetching.etag.clear();
    fetching.length = -1;
    fetching.encoding.clear();
  } else if (absl::StartsWithIgnoreCase(line, "content-encoding:")) {
    fetching.encoding = absl::AsciiStrToLower(absl::StripAsciiWhitespace(line.substr(17)));
    if (fetching.encoding == "identity") fetching.encoding.clear();
  } else if (absl::StartsWithIgnoreCase(line, "etag:")) {
    fetching.etag = std::string(absl::StripAsciiWhitespace(line.substr(5)));
  } else if (absl::StartsWithIgnoreCase(line, "content-length:")) {
    if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(line.substr(15)), &fetching.length))
      fetching.length = -1;
  }
  return size;
}

size_t OnBody(char* bytes, size_t, size_t size, void* user) {
  auto& fetching = *static_cast<Fetching*>(user);
  long code = 0;
  curl_easy_getinfo(fetching.curl, CURLINFO_RESPONSE_CODE, &code);
  if (code < 200 || code >= 300) return size;
  if (!fetching.begun) {
    fetching.begun = true;
    if (!fetching.encoding.empty()) {
      fetching.failure = OfStorage(absl::InternalError(absl::StrCat(
          "the storage sent the file with Content-Encoding ", fetching.encoding, ", unasked")));
      return 0;
    }
    // Weak tags do not promise equal bytes.
    const bool strong = !absl::StartsWith(fetching.etag, "W/");
    if (code != 206) fetching.failure = fetching.file.Restart(strong ? fetching.etag : "");
    if (fetching.length >= 0) fetching.length += fetching.file.size();
    const std::string_view start(bytes, std::min(size, kTellingBytes));
    if (fetching.failure.ok() && fetching.file.size() == 0 && fetching.options.check_weights &&
        start.size() > kShortestTelling)
      fetching.failure = CheckWeightsStart(start);
  }
  if (fetching.failure.ok()) fetching.failure = fetching.file.Append(std::string_view(bytes, size));
  if (fetching.options.on_progress) {
    fetching.options.on_progress(fetching.file.size(), std::max<int64_t>(0, fetching.length));
  }
  return fetching.failure.ok() ? size : 0;
}

absl::Status FetchRest(const std::string& url, PartialFile& file, const DownloadOptions& options) {
  Curl curl = MakeCurl(url);
  if (curl == nullptr) return absl::InternalError("libcurl cannot be initialised");
  Fetching fetching{.file = file, .options = options, .curl = curl.get()};
  Headers headers;
  // Only the file's own bytes can be continued and checked.
  Append(headers, "Accept-Encoding: identity");
  if (file.size() > 0) {
    Append(headers, absl::StrCat("Range: bytes=", file.size(), "-"));
    Append(headers, absl::StrCat("If-Range: ", file.generation()));
  }
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &fetching);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &fetching);
  const CURLcode result = curl_easy_perform(curl.get());
  if (!fetching.failure.ok()) return fetching.failure;
  long code = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code);
  if (code == 416 && file.size() > 0) {
    // The storage has nothing beyond what is here: the file has changed, or was complete. Only a
    // new transfer can tell which.
    if (absl::Status status = file.Restart(""); !status.ok()) return status;
    return absl::UnavailableError("the file has changed at its storage");
  }
  if (result != CURLE_OK) return StatusOfCurl(result);
  if (absl::Status status = StatusOfCode(code); !status.ok()) return status;
  // An empty file has no body to begin with.
  if (!fetching.begun && file.size() > 0) return file.Restart("");
  return absl::OkStatus();
}

int OnUploadProgress(void* user, curl_off_t, curl_off_t, curl_off_t total, curl_off_t sent) {
  const auto& options = *static_cast<const UploadOptions*>(user);
  if (options.on_progress && total > 0) options.on_progress(sent, total);
  return 0;
}

size_t OnIgnoredBody(char*, size_t, size_t size, void*) { return size; }

}  // namespace

absl::Status PutFile(const std::string& path, const std::string& url,
                     const std::map<std::string, std::string>& headers,
                     const UploadOptions& options) {
  std::unique_ptr<FILE, CloseCurl> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) return LocalFileError("read", path, errno);
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return LocalFileError("read", path, error.value());
  Curl curl = MakeCurl(url);
  if (curl == nullptr) return absl::InternalError("libcurl cannot be initialised");
  Headers lines;
  for (const auto& [name, value] : headers) Append(lines, absl::StrCat(name, ": ", value));
  Append(lines, "Expect:");
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, lines.get());
  curl_easy_setopt(curl.get(), CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_READDATA, file.get());
  curl_easy_setopt(curl.get(), CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(size));
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, OnIgnoredBody);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, OnUploadProgress);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &options);
  const CURLcode result = curl_easy_perform(curl.get());
  long code = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code);
  // A storage may refuse while the file is still being sent.
  if (code >= 300) return StatusOfCode(code);
  return result != CURLE_OK ? StatusOfCurl(result) : StatusOfCode(code);
}

absl::StatusOr<DownloadedWeights> GetFile(const std::string& url, const std::string& path,
                                          const DownloadOptions& options) {
  auto opened = PartialFile::Open(path);
  if (!opened.ok()) return opened.status();
  PartialFile& file = **opened;
  int64_t resumed_bytes = file.size();
  RetryBackoff backoff(options.backoff);
  absl::Status status;
  for (int attempt = 1;; ++attempt) {
    const int64_t before = file.size();
    status = FetchRest(url, file, options);
    if (file.size() < before) resumed_bytes = 0;
    if (status.ok()) break;
    if (file.size() > before) attempt = 0;
    // A file without a version cannot be continued.
    if (file.generation().empty() && file.size() > 0) {
      if (absl::Status restarted = file.Restart(""); !restarted.ok()) return restarted;
      attempt = std::max(attempt, 1);
    }
    if (!absl::IsUnavailable(status) || attempt >= options.attempts) break;
    absl::SleepFor(backoff.Next());
  }
  return FinishDownload(file, std::move(status), options, resumed_bytes);
}

}  // namespace finetune::cli
