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

// What TLS files say, checked: the key belongs to the certificate, and OpenSSL takes all of it. As
// PEM that was written anew, so that who is given it meets nothing else that stood in the files.
struct TlsMaterial {
  std::string cert_chain;
  std::string key;  // A secret.
  std::string client_ca;
  Validity validity;  // Of the first certificate.

  bool operator==(const TlsMaterial& other) const {
    return cert_chain == other.cert_chain && key == other.key && client_ca == other.client_ca;
  }
};

// Files that are given need the others beside them. INVALID_ARGUMENT, saying which.
absl::Status CheckTlsFlags(const TlsFiles& files);

using ReadTlsFile = absl::FunctionRef<absl::StatusOr<std::string>(const std::string& path)>;

// INVALID_ARGUMENT, in one sentence that names the flag and the file. Files that are enabled.
absl::StatusOr<TlsMaterial> ReadTlsMaterial(const TlsFiles& files, ReadTlsFile read);

// The certificates of authorities in `text`, written anew. INVALID_ARGUMENT, calling the text `name`,
// if there is none, or one that does not do.
absl::StatusOr<std::string> CheckAuthorities(const std::string& text, const std::string& name);

}  // namespace finetune
