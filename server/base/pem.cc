#include "server/base/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

int NoPassPhrase(char*, int, int, void*) { return 0; }

BioPtr Reader(const std::string& pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

}  // namespace

PemCertificates ReadPemCertificates(const std::string& pem) {
  ERR_clear_error();
  PemCertificates certificates;
  const BioPtr reader = Reader(pem);
  while (CertificatePtr next{PEM_read_bio_X509(reader.get(), nullptr, NoPassPhrase, nullptr)})
    certificates.found.push_back(std::move(next));
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    certificates.fault = OpenSslReason();
  ERR_clear_error();
  return certificates;
}

absl::StatusOr<KeyPtr> ReadPemKey(const std::string& pem, std::string_view path) {
  KeyPtr key(PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassPhrase, nullptr));
  ERR_clear_error();
  if (key != nullptr) return key;
  if (absl::StrContains(pem, "ENCRYPTED"))
    return absl::InvalidArgumentError(
        absl::StrCat("holds a key with a pass phrase; `openssl pkey -in ",
                     absl::string_view(path.data(), path.size()), " -out FILE` takes it off"));
  return absl::InvalidArgumentError("holds no PEM private key");
}

std::string OpenSslReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "OpenSSL does not say why" : reason;
}

}  // namespace finetune
