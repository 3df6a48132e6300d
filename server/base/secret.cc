#include "server/base/secret.h"

#include <openssl/crypto.h>

namespace finetune {

Secret::~Secret() {
  if (!value_.empty()) OPENSSL_cleanse(value_.data(), value_.size());
}

bool Secret::Equals(std::string_view other) const {
  return value_.size() == other.size() &&
         CRYPTO_memcmp(value_.data(), other.data(), other.size()) == 0;
}

}  // namespace finetune
