#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace finetune {

// PEM files; all empty: no TLS.
struct TlsFiles {
  std::string cert;
  std::string key;
  // Certificates that may sign those of clients; with it clients must show one.
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

// What TLS files say, checked: the key belongs to the certificate, and OpenSSL takes all of it. Rewritten
// as PEM, so that whoever gets it sees nothing else that was in the files.
struct TlsMaterial {
  std::string cert_chain;
  std::string key;  // A secret.
  std::string client_ca;
  Validity validity;  // Of the first certificate.

  bool operator==(const TlsMaterial& other) const {
    return cert_chain == other.cert_chain && key == other.key && client_ca == other.client_ca;
  }
};

// Some files need others with them. INVALID_ARGUMENT, saying which one is missing.
absl::Status CheckTlsFlags(const TlsFiles& files);

using ReadTlsFile = absl::FunctionRef<absl::StatusOr<std::string>(const std::string& path)>;

// `files` must be enabled. INVALID_ARGUMENT, in one sentence that names the flag and the file.
absl::StatusOr<TlsMaterial> ReadTlsMaterial(const TlsFiles& files, ReadTlsFile read);

// The CA certificates in `text`, rewritten as PEM. INVALID_ARGUMENT, calling the text `name`, if
// there is none, or if one of them cannot be used.
absl::StatusOr<std::string> CheckAuthorities(const std::string& text, const std::string& name);

}  // namespace finetune
