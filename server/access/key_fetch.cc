#include "server/access/key_fetch.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/access/authorities_file.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);
constexpr size_t kMaxBytes = size_t{1} << 20;

// A bearer token that is reread when its file changes; Kubernetes changes it every hour.
class TokenFile {
 public:
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path,
                                                         FileRereader& rereader) {
    std::unique_ptr<TokenFile> made(new TokenFile(path, rereader));
    RETURN_IF_ERROR(made->files_->Open());
    return made;
  }
  ~TokenFile() { files_->Stop(); }

  Secret Get() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return token_;
  }

 private:
  TokenFile(const std::string& path, FileRereader& rereader)
      : path_(path),
        files_(rereader.Add(absl::StrCat("issuer_token ", path),
                            [this](RereadFiles::Read read) { return Take(read); })) {}

  absl::Status Take(RereadFiles::Read read) ABSL_LOCKS_EXCLUDED(mu_) {
    ASSIGN_OR_RETURN(const std::string text, read(path_));
    const absl::string_view token = absl::StripAsciiWhitespace(text);
    // The token is sent in a header.
    if (token.empty() || !std::all_of(token.begin(), token.end(), absl::ascii_isgraph))
      return absl::InvalidArgumentError(
          absl::StrCat("the token file '", path_, "' holds no token"));
    MutexLock lock(mu_);
    token_ = Secret(std::string(token));
    return absl::OkStatus();
  }

  const std::string path_;
  mutable Mutex mu_;
  Secret token_ ABSL_GUARDED_BY(mu_);
  const std::shared_ptr<RereadFiles> files_;
};

absl::StatusOr<std::string> KeysIn(HttpResult result) {
  if (!result.status.ok()) return std::move(result.status);
  if (result.response.code == 200) return std::move(result.response.body);
  return absl::UnavailableError(absl::StrCat("the answer was HTTP ", result.response.code));
}

// Fetches from one location, one fetch at a time. The first fetch that finds the location's files
// good opens them.
class LocationFetch {
 public:
  LocationFetch(KeyLocation location, HttpClient& http, FileRereader& rereader)
      : location_(std::move(location)), http_(http), rereader_(rereader) {}

  void Begin(KeysFetched done) {
    if (absl::Status opened = OpenFiles(); !opened.ok()) return std::move(done)(std::move(opened));
    HttpRequest request{.url = location_.url,
                        .headers = {{"Accept", "application/jwk-set+json, application/json"}},
                        .ca_file = authorities_ ? authorities_->path() : "",
                        .deadline = SteadyNow() + kTimeout,
                        .max_body_bytes = kMaxBytes};
    if (token_)
      request.secret_headers.emplace_back("Authorization",
                                          Secret(absl::StrCat("Bearer ", token_->Get().Reveal())));
    http_.Start(std::move(request), [done = std::move(done)](HttpResult result) mutable {
      std::move(done)(KeysIn(std::move(result)));
    });
  }

 private:
  absl::Status OpenFiles() {
    if (!location_.ca_file.empty() && authorities_ == nullptr) {
      ASSIGN_OR_RETURN(authorities_,
                       AuthoritiesFile::Open(absl::StrCat("issuer_ca ", location_.ca_file),
                                             location_.ca_file, rereader_));
    }
    if (!location_.token_file.empty() && token_ == nullptr) {
      ASSIGN_OR_RETURN(token_, TokenFile::Open(location_.token_file, rereader_));
    }
    return absl::OkStatus();
  }

  // Constant after construction.
  const KeyLocation location_;
  HttpClient& http_;
  FileRereader& rereader_;

  // Null until they are opened, and if the location has none.
  std::unique_ptr<AuthoritiesFile> authorities_;
  std::unique_ptr<TokenFile> token_;
};

}  // namespace

MakeFetchKeys MakeKeyFetch(HttpClient& http, FileRereader& rereader) {
  return [&http, &rereader](const KeyLocation& location) -> FetchKeys {
    auto fetch = std::make_shared<LocationFetch>(location, http, rereader);
    return [fetch](KeysFetched done) { fetch->Begin(std::move(done)); };
  };
}

}  // namespace finetune
