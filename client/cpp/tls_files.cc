#include "client/cpp/tls_files.h"

#include <openssl/err.h>

#include "absl/strings/str_cat.h"
#include "server/base/pem.h"

namespace finetune::inline client {
namespace {

absl::Status NoCertificate(absl::string_view what, const std::string& path) {
  return absl::InvalidArgumentError(
      absl::StrCat("the ", what, " file ", path, " holds no PEM certificate"));
}

}  // namespace

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
  if (!ca_.path().empty() && ReadPemCertificates(pem.ca).found.empty())
    return NoCertificate("TLS CA", ca_.path());
  if (cert_.path().empty()) return absl::OkStatus();
  const auto own = ReadPemCertificates(pem.cert).found;
  if (own.empty()) return NoCertificate("TLS certificate", cert_.path());
  return CheckKey(pem, own.front().get());
}

absl::Status TlsFiles::CheckKey(const TlsPem& pem, X509* certificate) const {
  const std::string& path = key_.path();
  const auto key = ReadPemKey(pem.key, path);
  if (!key.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the TLS key file ", path, " ", key.status().message()));
  }
  const bool fits = X509_check_private_key(certificate, key->get()) == 1;
  ERR_clear_error();
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the TLS key in ", path, " does not belong to the certificate in ", cert_.path()));
}

}  // namespace finetune::inline client
