#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune::inline client {

// SHA-256 of bytes that come in pieces. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  // A digest of the same bytes, which both continue on their own.
  Sha256(const Sha256& other);
  Sha256(Sha256&&) = default;
  Sha256& operator=(Sha256&&) = default;

  void Update(std::string_view bytes);
  // The 32 bytes. Ends the digest.
  std::string Finish();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace finetune::inline client
