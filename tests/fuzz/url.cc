#include "server/base/url.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "server/http/address_policy.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {
namespace {

std::string Part(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

// What is checked must be where curl connects.
void CheckAgainstCurl(const std::string& text, const UrlTarget& target) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return;
  std::string host = Part(url.get(), CURLUPART_HOST, 0);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  for (char& c : host) c = absl::ascii_tolower(static_cast<unsigned char>(c));
  // The dot at a name's end is left out of rules.
  if (host.ends_with('.')) host.pop_back();
  CHECK(host == target.host);
  CHECK(Part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT) == std::to_string(target.port));
  CHECK(Part(url.get(), CURLUPART_SCHEME, 0) == (target.secure ? "https" : "http"));
}

}  // namespace

void Fuzz(std::string_view input) {
  static const auto* const policy = new AddressPolicy(*AddressPolicy::Create(
      {std::string("*.s3.amazonaws.com"), std::string("storage.googleapis.com:443")},
      "https://api.segmind.com"));
  const absl::StatusOr<UrlTarget> target = ParseTarget(input);
  const absl::Status transfer = policy->CheckTransfer(input);
  const absl::Status foreign = policy->CheckForeign(input);
  if (!transfer.ok()) CheckRefusal(transfer);
  if (!foreign.ok()) CheckRefusal(foreign);
  if (!target.ok()) {
    CheckRefusal(target.status());
    CHECK(!transfer.ok() && !foreign.ok());
    return;
  }
  CHECK(!target->host.empty() && target->port > 0 && target->port < 65536);
  if (transfer.ok()) {
    CHECK(target->host.ends_with(".s3.amazonaws.com") || target->host == "storage.googleapis.com" ||
          target->host == "api.segmind.com");
  }
  CheckAgainstCurl(std::string(input), *target);
  // As a host rule of the operator's: read, or refused with words.
  const auto rules = AddressPolicy::Create({std::string(input)}, "https://api.segmind.com");
  if (!rules.ok()) CheckRefusal(rules.status());
}

}  // namespace finetune
