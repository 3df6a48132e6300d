#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace finetune {

// Paths of PEM files; all are empty without TLS.
struct TlsFiles {
  std::string cert;
  std::string key;
  // Authorities of client certificates; if set, clients must present one.
  std::string client_ca;

  bool enabled() const { return !cert.empty(); }
  bool mutual() const { return !client_ca.empty(); }
};

// When a certificate is valid.
struct Validity {
  absl::Time begin;
  absl::Time end;

  bool Includes(absl::Time time) const { return begin <= time && time < end; }
};

// The content of TLS files, checked: the key belongs to the certificate, and OpenSSL accepts all of
// it. Rewritten as PEM, so that nothing else that was in the files is passed on.
struct TlsMaterial {
  std::string cert_chain;
  std::string key;  // A secret.
  std::string client_ca;
  Validity validity;  // Of the first certificate.

  bool operator==(const TlsMaterial& other) const {
    return cert_chain == other.cert_chain && key == other.key && client_ca == other.client_ca;
  }
};

// INVALID_ARGUMENT, saying which file is missing, if one of them needs another.
absl::Status CheckTlsFlags(const TlsFiles& files);

using ReadTlsFile = absl::FunctionRef<absl::StatusOr<std::string>(const std::string& path)>;

// Reads and checks `files`, which must be enabled. INVALID_ARGUMENT, in one sentence that names the
// flag and the file.
absl::StatusOr<TlsMaterial> ReadTlsMaterial(const TlsFiles& files, ReadTlsFile read);

// The CA certificates in `text`, rewritten as PEM. INVALID_ARGUMENT, which calls the text `name`,
// if there are none or one of them cannot be used.
absl::StatusOr<std::string> CheckAuthorities(const std::string& text, const std::string& name);

}  // namespace finetune
