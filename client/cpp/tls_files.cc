#include "client/cpp/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/small_file.h"

namespace finetune::inline client {
namespace {

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

std::unique_ptr<BIO, FreeBio> Reader(const std::string& pem) {
  return std::unique_ptr<BIO, FreeBio>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Nobody is asked for a pass phrase.
int NoPassPhrase(char*, int, int, void*) { return 0; }

absl::Status CheckKey(const std::string& path, X509* certificate, const std::string& cert_path) {
  const auto pem = ReadSmallFile("TLS key", path);
  if (!pem.ok()) return pem.status();
  const std::unique_ptr<EVP_PKEY, FreeKey> key(
      PEM_read_bio_PrivateKey(Reader(*pem).get(), nullptr, NoPassPhrase, nullptr));
  const bool fits = key != nullptr && X509_check_private_key(certificate, key.get()) == 1;
  ERR_clear_error();
  if (fits) return absl::OkStatus();
  if (key != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the TLS key in ", path, " does not belong to the certificate in ", cert_path));
  }
  if (absl::StrContains(*pem, "ENCRYPTED")) {
    return absl::InvalidArgumentError(absl::StrCat("the TLS key in ", path,
                                                   " has a pass phrase; `openssl pkey -in ", path,
                                                   " -out FILE` takes it off"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the TLS key file ", path, " holds no private key in PEM"));
}

}  // namespace

absl::StatusOr<Certificate> ReadCertificate(std::string_view what, const std::string& path) {
  const auto pem = ReadSmallFile(what, path);
  if (!pem.ok()) return pem.status();
  Certificate certificate(PEM_read_bio_X509(Reader(*pem).get(), nullptr, NoPassPhrase, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", std::string(what), " file ", path, " holds no certificate in PEM"));
  }
  return certificate;
}

absl::Status CheckTlsFiles(const std::string& ca, const std::string& cert, const std::string& key) {
  if (cert.empty() != key.empty()) {
    return absl::InvalidArgumentError("a TLS certificate needs its key, and a key its certificate");
  }
  if (!ca.empty()) {
    if (const auto authority = ReadCertificate("TLS CA", ca); !authority.ok())
      return authority.status();
  }
  if (cert.empty()) return absl::OkStatus();
  const auto certificate = ReadCertificate("TLS certificate", cert);
  if (!certificate.ok()) return certificate.status();
  return CheckKey(key, certificate->get(), cert);
}

}  // namespace finetune::inline client
