// The content of TLS files. gRPC itself would only say that a connection failed, and its own file
// watcher ends the process when it meets a bad file.
#pragma once

#include <openssl/x509.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/changing_file.h"

namespace finetune::inline client {

// Authorities, certificate and key as PEM; empty where there are none.
struct TlsPem {
  std::string ca;
  std::string cert;
  std::string key;

  bool operator==(const TlsPem&) const = default;
};

// The TLS files as one set that belongs together: a good set is kept until the files hold the next
// good one. An expired certificate is not an error, because the files may change while a channel
// lives. Not thread-safe.
class TlsFiles {
 public:
  // Empty paths are left out.
  TlsFiles(std::string ca, std::string cert, std::string key);

  // Looks at the files. INVALID_ARGUMENT, in one sentence that names the file, if one cannot be
  // read or does not hold what it should, or if the key is not the certificate's; pem() is then
  // still the last good set.
  absl::Status Look();

  const TlsPem& pem() const { return good_; }

 private:
  absl::Status Check(const TlsPem& pem) const;
  absl::Status CheckKey(const TlsPem& pem, X509* certificate) const;

  ChangingFile ca_;
  ChangingFile cert_;
  ChangingFile key_;
  TlsPem good_;
};

}  // namespace finetune::inline client
