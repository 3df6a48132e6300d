// What the files of TLS hold. gRPC itself only says that a connection failed, and its own following
// of files ends the process over a bad one.
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

// The files of TLS as one set that fits together: a good one is kept until the files hold the next.
// An expired certificate is not an error, because the files may change while a channel lives.
// Not thread-safe.
class TlsFiles {
 public:
  // Empty paths are left out.
  TlsFiles(std::string ca, std::string cert, std::string key);

  // Looks at the files. INVALID_ARGUMENT, in one sentence that names the file, if the authorities,
  // the certificate or the key cannot be read or hold nothing of the kind, or the key is not the
  // certificate's; pem() is then the last good set.
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
