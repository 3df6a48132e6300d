#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

#include "server/base/check.h"

namespace finetune {

// Computes SHA-256 piece by piece. Not thread-safe.
class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  // Copies the digest of the bytes so far; both go on independently.
  Sha256(const Sha256& other) : context_(EVP_MD_CTX_new()) {
    CHECK(context_ != nullptr && EVP_MD_CTX_copy_ex(context_.get(), other.context_.get()) == 1);
  }
  Sha256(Sha256&&) = default;
  Sha256& operator=(Sha256&&) = default;

  void Update(std::string_view bytes) {
    CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  // The 32 bytes. Call it once.
  std::string Finish() {
    std::string digest(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    CHECK(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()),
                             &size) == 1);
    digest.resize(size);
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

// The 32 bytes of SHA-256.
inline std::string Sha256Of(std::string_view text) {
  Sha256 digest;
  digest.Update(text);
  return digest.Finish();
}

}  // namespace finetune
