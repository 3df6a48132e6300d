#include "server/access/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/pem.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

using ContextPtr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

// A file's text, and its name for errors.
struct PemFile {
  std::string text;
  std::string name;  // "--flag: 'path'".
};

template <typename... Words>
absl::Status Bad(const PemFile& file, const Words&... words) {
  return absl::InvalidArgumentError(absl::StrCat(file.name, words...));
}

absl::StatusOr<PemFile> ReadPem(absl::string_view flag, const std::string& path, ReadTlsFile read) {
  auto text = read(path);
  if (!text.ok())
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", text.status().message()));
  return PemFile{*std::move(text), absl::StrCat(flag, ": '", path, "'")};
}

// The text that `write` writes to a BIO.
template <typename Write>
std::string Written(const Write& write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || !write(bio.get())) return "";
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

// All certificates in the file, at least one. A certificate that cannot be read is an error.
absl::StatusOr<std::vector<CertificatePtr>> ReadCertificates(const PemFile& file) {
  PemCertificates certificates = ReadPemCertificates(file.text);
  if (!certificates.fault.empty())
    return Bad(file, ": certificate ", certificates.found.size() + 1,
               " cannot be read: ", certificates.fault);
  if (certificates.found.empty()) return Bad(file, " holds no PEM certificate");
  return std::move(certificates.found);
}

absl::StatusOr<KeyPtr> ReadKey(const PemFile& file, const std::string& path) {
  auto key = ReadPemKey(file.text, path);
  if (!key.ok()) return Bad(file, " ", key.status().message());
  return key;
}

absl::StatusOr<absl::Time> ToTime(const ASN1_TIME* time, const PemFile& file) {
  tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1)
    return Bad(file, " holds a certificate whose validity cannot be read");
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string PemOf(const std::vector<CertificatePtr>& certs) {
  return Written([&](BIO* bio) {
    for (const CertificatePtr& cert : certs)
      if (PEM_write_bio_X509(bio, cert.get()) != 1) return false;
    return true;
  });
}

std::string PemOf(EVP_PKEY* key) {
  return Written([&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
  });
}

// Tries what gRPC will do: whether a server can be made of them.
absl::Status TryAsServer(const PemFile& cert_file, const std::vector<CertificatePtr>& chain,
                         const PemFile& key_file, EVP_PKEY* key) {
  const ContextPtr context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return absl::InternalError(OpenSslReason());
  if (SSL_CTX_use_certificate(context.get(), chain[0].get()) != 1)
    return Bad(cert_file, " holds a certificate that does not do: ", OpenSslReason());
  for (size_t i = 1; i < chain.size(); ++i)
    if (SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) != 1)
      return Bad(cert_file, ": certificate ", i + 1, " does not do: ", OpenSslReason());
  if (X509_check_private_key(chain[0].get(), key) != 1)
    return Bad(key_file, " holds a key that does not belong to the certificate");
  if (SSL_CTX_use_PrivateKey(context.get(), key) != 1)
    return Bad(key_file, " holds a key that does not do: ", OpenSslReason());
  return absl::OkStatus();
}

absl::Status TryAsAuthorities(const PemFile& file, const std::vector<CertificatePtr>& certs) {
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(),
                                                                      X509_STORE_free);
  for (size_t i = 0; i < certs.size(); ++i)
    if (store == nullptr || X509_STORE_add_cert(store.get(), certs[i].get()) != 1)
      return Bad(file, ": certificate ", i + 1, " does not do: ", OpenSslReason());
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTlsFlags(const TlsFiles& files) {
  if (files.enabled() && files.key.empty())
    return absl::InvalidArgumentError("--tls_cert_file needs --tls_key_file beside it");
  if (!files.enabled() && (!files.key.empty() || files.mutual()))
    return absl::InvalidArgumentError(
        "--tls_key_file and --tls_client_ca_file need --tls_cert_file beside them");
  return absl::OkStatus();
}

absl::StatusOr<std::string> CheckAuthorities(const std::string& text, const std::string& name) {
  ERR_clear_error();
  const absl::Cleanup forget = [] { ERR_clear_error(); };
  const PemFile file = {text, name};
  ASSIGN_OR_RETURN(const std::vector<CertificatePtr> authorities, ReadCertificates(file));
  RETURN_IF_ERROR(TryAsAuthorities(file, authorities));
  return PemOf(authorities);
}

absl::StatusOr<TlsMaterial> ReadTlsMaterial(const TlsFiles& files, ReadTlsFile read) {
  ERR_clear_error();
  const absl::Cleanup forget = [] { ERR_clear_error(); };
  TlsMaterial material;
  RETURN_IF_ERROR(CheckTlsFlags(files));
  ASSIGN_OR_RETURN(const PemFile cert_file, ReadPem("--tls_cert_file", files.cert, read));
  ASSIGN_OR_RETURN(const PemFile key_file, ReadPem("--tls_key_file", files.key, read));
  ASSIGN_OR_RETURN(const std::vector<CertificatePtr> chain, ReadCertificates(cert_file));
  ASSIGN_OR_RETURN(const KeyPtr key, ReadKey(key_file, files.key));
  RETURN_IF_ERROR(TryAsServer(cert_file, chain, key_file, key.get()));
  ASSIGN_OR_RETURN(material.validity.begin, ToTime(X509_get0_notBefore(chain[0].get()), cert_file));
  ASSIGN_OR_RETURN(material.validity.end, ToTime(X509_get0_notAfter(chain[0].get()), cert_file));
  material.cert_chain = PemOf(chain);
  material.key = PemOf(key.get());
  if (files.mutual()) {
    ASSIGN_OR_RETURN(const PemFile ca_file, ReadPem("--tls_client_ca_file", files.client_ca, read));
    ASSIGN_OR_RETURN(material.client_ca, CheckAuthorities(ca_file.text, ca_file.name));
  }
  if (material.cert_chain.empty() || material.key.empty() ||
      (files.mutual() && material.client_ca.empty()))
    return absl::InternalError("OpenSSL cannot write what it has read from the TLS files");
  return material;
}

}  // namespace finetune
