#include "server/service/requests/page_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "absl/strings/escaping.h"
#include "server/base/error.h"

namespace finetune {
namespace {

constexpr size_t kPositionBytes = 8;
constexpr size_t kSignatureBytes = 12;

std::string PositionBytes(uint64_t position) {
  std::string bytes(kPositionBytes, '\0');
  for (size_t i = 0; i < kPositionBytes; ++i)
    bytes[i] = static_cast<char>(position >> (56 - 8 * i));
  return bytes;
}

std::string Signature(std::string_view epoch, std::string_view query, std::string_view position) {
  const std::string text = absl::StrCat("page\n", std::string(position), "\n", std::string(query));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha256(), epoch.data(), static_cast<int>(epoch.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &length);
  return std::string(reinterpret_cast<const char*>(digest), kSignatureBytes);
}

}  // namespace

std::string EncodePageToken(std::string_view epoch, std::string_view query, uint64_t position) {
  const std::string bytes = PositionBytes(position);
  return absl::WebSafeBase64Escape(bytes + Signature(epoch, query, bytes));
}

absl::StatusOr<uint64_t> DecodePageToken(std::string_view epoch, std::string_view query,
                                         std::string_view token) {
  std::string bytes;
  const bool decoded = absl::WebSafeBase64Unescape({token.data(), token.size()}, &bytes);
  // One form only: base64 would ignore a change of the last character's spare bits.
  const bool canonical = decoded && absl::WebSafeBase64Escape(bytes) == std::string(token);
  if (canonical && bytes.size() == kPositionBytes + kSignatureBytes) {
    const std::string_view position = std::string_view(bytes).substr(0, kPositionBytes);
    if (CRYPTO_memcmp(bytes.data() + kPositionBytes, Signature(epoch, query, position).data(),
                      kSignatureBytes) == 0) {
      uint64_t value = 0;
      for (char c : position) value = value << 8 | static_cast<unsigned char>(c);
      return value;
    }
  }
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::PAGE_TOKEN_INVALID,
               "page_token: not from this gateway, or not for this query (filter, view)")
      .Field("page_token", "not from this gateway, or not for this query (filter, view)");
}

}  // namespace finetune
