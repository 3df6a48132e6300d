#pragma once

#include <openssl/sha.h>

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace finetune {

// Policies for tests: one of one caller, who is known by kToken.

inline constexpr char kToken[] = "token-of-the-indexer-0123456789";

inline std::string HashOf(const std::string& token) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return absl::BytesToHexString(digest);
}

inline std::string OneCaller(const std::string& more = "", const std::string& name = "indexer",
                             const std::string& token = kToken) {
  return absl::StrCat(R"({"name":")", name, R"(","role":"SUBMITTER","bearer_token_sha256":[")",
                      HashOf(token), R"("])", more, "}");
}
inline std::string PolicyOf(const std::string& callers, const std::string& more = "") {
  return absl::StrCat(R"({"callers":[)", callers, "]", more, "}");
}

}  // namespace finetune
