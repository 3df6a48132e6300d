#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune {

// Frees what OpenSSL has allocated.
struct FreeOpenSsl {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using BioPtr = std::unique_ptr<BIO, FreeOpenSsl>;
using CertificatePtr = std::unique_ptr<X509, FreeOpenSsl>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeOpenSsl>;

// The certificates in a PEM text. If the one after the last of them cannot be read, `fault` is why,
// in OpenSSL's words; it is empty if the text ends there.
struct PemCertificates {
  std::vector<CertificatePtr> found;
  std::string fault;
};
PemCertificates ReadPemCertificates(const std::string& pem);

// The private key in a PEM text, which came from the file `path`. INVALID_ARGUMENT, in words that
// continue after the file's name, if none can be read without a pass phrase, for which there is
// nobody to ask.
absl::StatusOr<KeyPtr> ReadPemKey(const std::string& pem, std::string_view path);

// OpenSSL's own words for this thread's latest failure.
std::string OpenSslReason();

}  // namespace finetune
