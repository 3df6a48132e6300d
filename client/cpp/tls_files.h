// What the files of TLS hold. gRPC itself only says that a connection failed.
#pragma once

#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace finetune::inline client {

struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificate = std::unique_ptr<X509, FreeCertificate>;

// The first certificate of a PEM file. INVALID_ARGUMENT in one sentence with `what` the file is.
absl::StatusOr<Certificate> ReadCertificate(std::string_view what, const std::string& path);

// INVALID_ARGUMENT, in one sentence that names the file, if the authorities, the certificate or the
// key cannot be read or hold nothing of the kind, or the key is not the certificate's. Empty paths
// are left out; certificate and key come together. That a certificate has expired is no error: the
// files are read again while the channel lives.
absl::Status CheckTlsFiles(const std::string& ca, const std::string& cert, const std::string& key);

}  // namespace finetune::inline client
