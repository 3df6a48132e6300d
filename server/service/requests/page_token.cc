#include "server/service/requests/page_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "absl/strings/escaping.h"
#include "server/base/error.h"

namespace finetune {
namespace {

constexpr size_t kSignatureBytes = 12;
// A token's longest part is a display name.
constexpr size_t kMaxToken = 4'096;

std::string Signature(std::string_view epoch, std::string_view query, std::string_view place) {
  const std::string text =
      absl::StrCat("page\n", place.size(), "\n", std::string(place), "\n", std::string(query));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha256(), epoch.data(), static_cast<int>(epoch.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &length);
  return std::string(reinterpret_cast<const char*>(digest), kSignatureBytes);
}

}  // namespace

std::string EncodePageToken(std::string_view epoch, std::string_view query,
                            std::string_view place) {
  return absl::WebSafeBase64Escape(Signature(epoch, query, place) + std::string(place));
}

absl::StatusOr<std::string> DecodePageToken(std::string_view epoch, std::string_view query,
                                            std::string_view token) {
  std::string bytes;
  const bool decoded = token.size() <= kMaxToken &&
                       absl::WebSafeBase64Unescape({token.data(), token.size()}, &bytes);
  // Only one spelling is accepted: base64 would ignore a change of the last character's spare bits.
  const bool canonical = decoded && absl::WebSafeBase64Escape(bytes) == std::string(token);
  if (canonical && bytes.size() > kSignatureBytes) {
    const std::string place = bytes.substr(kSignatureBytes);
    if (CRYPTO_memcmp(bytes.data(), Signature(epoch, query, place).data(), kSignatureBytes) == 0)
      return place;
  }
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::PAGE_TOKEN_INVALID,
               "page_token: not from this gateway, or not for this query (filter, order_by, view)")
      .Field("page_token", "not from this gateway, or not for this query (filter, order_by, view)");
}

}  // namespace finetune
