#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/emulator/http.h"
#include "tests/emulator/storage.h"

namespace finetune::emulator {

// The ways in which stores sign URLs: s3, gcs, azure, cloudfront; and the empty one, not at all.
const std::vector<std::string>& SigningStyles();

// Signs URLs of the emulator's storage, each time anew: no two signatures are the same. Immutable;
// the key is random per process. Owned by main.
class SignedUrls {
 public:
  enum class Verdict { kUnsigned, kGood, kExpired, kWrong };

  // `url` with the query that opens it for that many seconds from now on.
  std::string Sign(std::string_view url, std::string_view style, int64_t seconds) const;
  // Signs every URL of our storage that stands in `json`, wherever.
  std::string SignAll(std::string_view json, std::string_view public_url, std::string_view style,
                      int64_t seconds) const;
  // Whether the request's query opens its path. Redirects keep the last part of the path, which is
  // all that is signed of it.
  Verdict Check(const Request& request) const;

 private:
  const UrlSigner signer_;
};

}  // namespace finetune::emulator
