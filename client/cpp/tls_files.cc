#include "client/cpp/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetune::inline client {
namespace {

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

std::unique_ptr<BIO, FreeBio> Reader(const std::string& pem) {
  return std::unique_ptr<BIO, FreeBio>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Nobody is asked for a pass phrase.
int NoPassPhrase(char*, int, int, void*) { return 0; }

absl::Status NoCertificate(absl::string_view what, const std::string& path) {
  return absl::InvalidArgumentError(
      absl::StrCat("the ", what, " file ", path, " holds no certificate in PEM"));
}

}  // namespace

std::vector<Certificate> ParseCertificates(const std::string& pem) {
  std::vector<Certificate> certificates;
  const auto reader = Reader(pem);
  while (Certificate next{PEM_read_bio_X509(reader.get(), nullptr, NoPassPhrase, nullptr)})
    certificates.push_back(std::move(next));
  ERR_clear_error();
  return certificates;
}

Key ParseKey(const std::string& pem) {
  Key key(PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassPhrase, nullptr));
  ERR_clear_error();
  return key;
}

TlsFiles::TlsFiles(std::string ca, std::string cert, std::string key)
    : ca_("TLS CA", std::move(ca)),
      cert_("TLS certificate", std::move(cert)),
      key_("TLS key", std::move(key)) {}

absl::Status TlsFiles::Look() {
  if (cert_.path().empty() != key_.path().empty()) {
    return absl::InvalidArgumentError("a TLS certificate needs its key, and a key its certificate");
  }
  for (ChangingFile* file : {&ca_, &cert_, &key_}) {
    if (absl::Status status = file->Look(); !status.ok()) return status;
  }
  TlsPem pem{ca_.text(), cert_.text(), key_.text()};
  if (pem == good_) return absl::OkStatus();
  if (absl::Status status = Check(pem); !status.ok()) return status;
  good_ = std::move(pem);
  return absl::OkStatus();
}

absl::Status TlsFiles::Check(const TlsPem& pem) const {
  if (!ca_.path().empty() && ParseCertificates(pem.ca).empty())
    return NoCertificate("TLS CA", ca_.path());
  if (cert_.path().empty()) return absl::OkStatus();
  const auto own = ParseCertificates(pem.cert);
  if (own.empty()) return NoCertificate("TLS certificate", cert_.path());
  return CheckKey(pem, own.front().get());
}

absl::Status TlsFiles::CheckKey(const TlsPem& pem, X509* certificate) const {
  const std::string& path = key_.path();
  const Key key = ParseKey(pem.key);
  const bool fits = key != nullptr && X509_check_private_key(certificate, key.get()) == 1;
  ERR_clear_error();
  if (fits) return absl::OkStatus();
  if (key != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the TLS key in ", path, " does not belong to the certificate in ", cert_.path()));
  }
  if (absl::StrContains(pem.key, "ENCRYPTED")) {
    return absl::InvalidArgumentError(absl::StrCat("the TLS key in ", path,
                                                   " has a pass phrase; `openssl pkey -in ", path,
                                                   " -out FILE` takes it off"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the TLS key file ", path, " holds no private key in PEM"));
}

}  // namespace finetune::inline client
