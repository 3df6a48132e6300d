#include "server/access/server_credentials.h"

#include <arpa/inet.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/read_file.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr unsigned kRereadSeconds = 5;

absl::StatusOr<std::string> ReadPem(const std::string& path, absl::string_view flag) {
  auto text = ReadFile(path);
  if (!text.ok())
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", text.status().message()));
  return text;
}

// Nobody is there to be asked for one.
int NoPassPhrase(char*, int, int, void*) { return 0; }

using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;
using CertPtr = std::unique_ptr<X509, decltype(&X509_free)>;
using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

CertPtr FirstCertificate(const std::string& pem) {
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  return CertPtr(PEM_read_bio_X509(bio.get(), nullptr, NoPassPhrase, nullptr), X509_free);
}

absl::Time ToTime(const ASN1_TIME* time) {
  tm parts = {};
  ASN1_TIME_to_tm(time, &parts);
  return absl::FromTM(parts, absl::UTCTimeZone());
}

absl::Status CheckPair(const TlsFiles& files, const std::string& cert_pem,
                       const std::string& key_pem) {
  const CertPtr cert = FirstCertificate(cert_pem);
  if (!cert)
    return absl::InvalidArgumentError(
        absl::StrCat("--tls_cert_file: '", files.cert, "' holds no PEM certificate"));
  BioPtr bio(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())), BIO_free);
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassPhrase, nullptr),
                   EVP_PKEY_free);
  if (!key && absl::StrContains(key_pem, "ENCRYPTED"))
    return absl::InvalidArgumentError(absl::StrCat("--tls_key_file: the key in '", files.key,
                                                   "' has a pass phrase; `openssl pkey -in ",
                                                   files.key, " -out FILE` takes it off"));
  if (!key)
    return absl::InvalidArgumentError(
        absl::StrCat("--tls_key_file: '", files.key, "' holds no PEM private key"));
  const bool fits = X509_check_private_key(cert.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits)
    return absl::InvalidArgumentError(absl::StrCat("--tls_key_file: the key in '", files.key,
                                                   "' does not belong to the certificate in '",
                                                   files.cert, "'"));
  return absl::OkStatus();
}

absl::Status CheckFiles(const TlsFiles& files) {
  if (files.key.empty())
    return absl::InvalidArgumentError("--tls_cert_file needs --tls_key_file beside it");
  ASSIGN_OR_RETURN(const std::string cert, ReadPem(files.cert, "--tls_cert_file"));
  ASSIGN_OR_RETURN(const std::string key, ReadPem(files.key, "--tls_key_file"));
  RETURN_IF_ERROR(CheckPair(files, cert, key));
  if (!files.mutual()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string ca, ReadPem(files.client_ca, "--tls_client_ca_file"));
  if (!FirstCertificate(ca))
    return absl::InvalidArgumentError(
        absl::StrCat("--tls_client_ca_file: '", files.client_ca, "' holds no PEM certificate"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files) {
  if (!files.enabled()) {
    if (!files.key.empty() || files.mutual())
      return absl::InvalidArgumentError(
          "--tls_key_file and --tls_client_ca_file need --tls_cert_file beside them");
    return grpc::InsecureServerCredentials();
  }
  RETURN_IF_ERROR(CheckFiles(files));
  using grpc::experimental::FileWatcherCertificateProvider;
  auto provider = files.mutual() ? std::make_shared<FileWatcherCertificateProvider>(
                                       files.key, files.cert, files.client_ca, kRereadSeconds)
                                 : std::make_shared<FileWatcherCertificateProvider>(
                                       files.key, files.cert, kRereadSeconds);
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (files.mutual()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  } else {
    options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

absl::StatusOr<Validity> ReadValidity(const std::string& cert_file) {
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(cert_file));
  const CertPtr cert = FirstCertificate(pem);
  ERR_clear_error();
  if (!cert)
    return absl::InvalidArgumentError(absl::StrCat("'", cert_file, "' holds no PEM certificate"));
  return Validity{ToTime(X509_get0_notBefore(cert.get())), ToTime(X509_get0_notAfter(cert.get()))};
}

bool IsLoopback(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  std::string bare = host;
  if (bare.size() > 2 && bare.front() == '[' && bare.back() == ']')
    bare = bare.substr(1, bare.size() - 2);
  in6_addr v6;
  return inet_pton(AF_INET6, bare.c_str(), &v6) == 1 &&
         std::memcmp(&v6, &in6addr_loopback, sizeof(v6)) == 0;
}

absl::Status CheckBinding(const std::string& host, const TlsFiles& files, bool has_policy,
                          bool allow_insecure) {
  if (allow_insecure || IsLoopback(host) || (files.enabled() && has_policy))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--listen: without TLS (--tls_cert_file, --tls_key_file) and a policy (--policy_file) the "
      "service binds only to loopback, not to '",
      host, "'; --allow_insecure opens it to everyone who can reach the port"));
}

}  // namespace finetune
