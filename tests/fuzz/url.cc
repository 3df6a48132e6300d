#include "server/base/url.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "server/base/url_signature.h"
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
void CheckAgainstCurl(const Url& read) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, read.text().c_str(), 0) != CURLUE_OK) return;
  std::string host = Part(url.get(), CURLUPART_HOST, 0);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  for (char& c : host) c = absl::ascii_tolower(static_cast<unsigned char>(c));
  // The dot at a name's end is left out of rules.
  if (host.ends_with('.')) host.pop_back();
  CHECK(host == read.host());
  CHECK(Part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT) == std::to_string(read.port()));
  CHECK(Part(url.get(), CURLUPART_SCHEME, 0) == (read.secure() ? "https" : "http"));
}

}  // namespace

void Fuzz(std::string_view input) {
  static const auto* const policy = new AddressPolicy(*AddressPolicy::Create(
      {std::string("*.s3.amazonaws.com"), std::string("storage.googleapis.com:443")},
      "https://api.segmind.com"));
  // Without signatures, there are none any more.
  const std::string bare = WithoutSignatures(input);
  CHECK(WithoutSignatures(bare) == bare);
  std::string cleaned;
  JsonWithoutSignatures(input, cleaned);
  for (const absl::StatusOr<Url>& url : {Url::Parse(input), Url::ParseAnswer(input),
                                         Url::Parse("https://h:1/a/b?c#d")->Resolve(input)}) {
    if (!url.ok()) {
      CheckRefusal(url.status());
      continue;
    }
    CHECK(!url->host().empty() && url->port() > 0 && url->port() < 65536);
    const absl::Status transfer = policy->CheckTransfer(*url);
    const absl::Status foreign = policy->CheckForeign(*url);
    if (!transfer.ok()) CheckRefusal(transfer);
    if (!foreign.ok()) CheckRefusal(foreign);
    if (transfer.ok()) {
      CHECK(url->host().ends_with(".s3.amazonaws.com") || url->host() == "storage.googleapis.com" ||
            url->host() == "api.segmind.com");
    }
    CheckAgainstCurl(*url);
    CHECK(Url::Parse(url->text())->text() == url->text());
  }
  // As a host rule of the operator's: read, or refused with words.
  const auto rules = AddressPolicy::Create({std::string(input)}, "https://api.segmind.com");
  if (!rules.ok()) CheckRefusal(rules.status());
}

}  // namespace finetune
