#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune {

// The accepted signature algorithms of JWTs: none that use a shared secret, and not `none`.
enum class JwtAlgorithm { kRs256, kEs256 };

// The public keys of a JSON Web Key Set (RFC 7517). A key verifies for its own algorithm only,
// whatever a token says. Immutable, thread-safe.
class KeySet {
 public:
  // Leaves out keys of other kinds, and those that are malformed, weak or too many, which skipped()
  // then lists. INVALID_ARGUMENT if it is not a key set, or if no key is left.
  static absl::StatusOr<KeySet> Parse(const std::string& json);

  // Why keys that were meant to be used are not: for each, a sentence without a subject.
  const std::vector<std::string>& skipped() const { return skipped_; }

  // A set that was not parsed is empty.
  bool empty() const { return keys_.empty(); }
  bool Has(std::string_view kid) const;

  // Whether a key with this id, or any key if `kid` is empty, made `signature` over `text`.
  bool Verify(JwtAlgorithm algorithm, std::string_view kid, std::string_view text,
              std::string_view signature) const;

 private:
  struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  struct Key {
    std::string kid;
    JwtAlgorithm algorithm;
    std::unique_ptr<EVP_PKEY, FreeKey> key;
  };

  std::vector<Key> keys_;
  std::vector<std::string> skipped_;
};

// Decodes base64url without padding; false for anything but its one canonical form.
bool DecodeBase64Url(std::string_view text, std::string& bytes);

}  // namespace finetune
