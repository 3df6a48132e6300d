#pragma once

#include <openssl/sha.h>

#include <string>
#include <string_view>

namespace finetune {

// The 32 bytes of SHA-256.
inline std::string Sha256(std::string_view text) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

}  // namespace finetune
