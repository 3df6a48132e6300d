#include "server/access/key_fetch.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/read_file.h"

namespace finetune {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);
constexpr size_t kMaxBytes = size_t{1} << 20;

// Empty if the file cannot be read or holds none.
Secret ReadToken(const std::string& path) {
  const auto file = ReadFile(path);
  return Secret(file.ok() ? std::string(absl::StripAsciiWhitespace(file->text)) : "");
}

absl::StatusOr<std::string> KeysIn(HttpResult result) {
  if (!result.status.ok()) return std::move(result.status);
  if (result.response.code == 200) return std::move(result.response.body);
  return absl::UnavailableError(absl::StrCat("the answer was HTTP ", result.response.code));
}

}  // namespace

FetchKeys MakeKeyFetch(HttpClient& http) {
  return [&http](const KeyLocation& location, KeysFetched done) {
    HttpRequest request{.url = location.url,
                        .headers = {{"Accept", "application/jwk-set+json, application/json"}},
                        .ca_file = location.ca_file,
                        .deadline = SteadyNow() + kTimeout,
                        .max_body_bytes = kMaxBytes};
    if (!location.token_file.empty()) {
      const Secret token = ReadToken(location.token_file);
      if (token.empty())
        return std::move(done)(absl::InvalidArgumentError(
            absl::StrCat("the token file '", location.token_file, "' holds no token")));
      request.secret_headers.emplace_back("Authorization",
                                          Secret(absl::StrCat("Bearer ", token.Reveal())));
    }
    if (!location.ca_file.empty() && access(location.ca_file.c_str(), R_OK) != 0)
      return std::move(done)(absl::InvalidArgumentError(
          absl::StrCat("the CA file '", location.ca_file, "' cannot be read")));
    http.Start(std::move(request), [done = std::move(done)](HttpResult result) mutable {
      std::move(done)(KeysIn(std::move(result)));
    });
  };
}

}  // namespace finetune
