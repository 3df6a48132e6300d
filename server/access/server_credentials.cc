#include "server/access/server_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

std::string Day(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

using ConfigPtr = std::unique_ptr<grpc_ssl_server_certificate_config,
                                  decltype(&grpc_ssl_server_certificate_config_destroy)>;

ConfigPtr ConfigOf(const TlsMaterial& material) {
  const grpc_ssl_pem_key_cert_pair pair = {material.key.c_str(), material.cert_chain.c_str()};
  // gRPC 1.51 asserts that there are authorities, even if clients are not asked for certificates.
  const std::string& roots = material.client_ca.empty() ? material.cert_chain : material.client_ca;
  return ConfigPtr(grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1),
                   grpc_ssl_server_certificate_config_destroy);
}

}  // namespace

// The certificates for new connections. Thread-safe.
class CertificatesInForce {
 public:
  // Makes a new version, unless nothing changes.
  void Set(TlsMaterial material) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    if (version_ > 0 && material == material_) return;
    material_ = std::move(material);
    ++version_;
  }
  // The newest version, whose number becomes `known`. Null if `known` is it already.
  ConfigPtr NewerThan(uint64_t& known) const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    if (std::exchange(known, version_) == version_)
      return {nullptr, grpc_ssl_server_certificate_config_destroy};
    return ConfigOf(material_);
  }
  // Zero before the first version.
  uint64_t version() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return version_;
  }
  Validity validity() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return material_.validity;
  }

 private:
  mutable Mutex mu_;
  uint64_t version_ ABSL_GUARDED_BY(mu_) = 0;
  TlsMaterial material_ ABSL_GUARDED_BY(mu_);
};

namespace {

// Asks at each handshake for the newest certificates.
class RereadCredentials : public grpc::ServerCredentials {
 public:
  RereadCredentials(const CertificatesInForce& in_force, bool mutual)
      : in_force_(in_force),
        credentials_(grpc_ssl_server_credentials_create_with_options(
                         grpc_ssl_server_credentials_create_options_using_config_fetcher(
                             mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                    : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
                             &RereadCredentials::Fetch, this)),
                     grpc_server_credentials_release) {}

  // Calls are judged by the Authenticator instead.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  // gRPC calls this with the port's lock held.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    auto* credentials = static_cast<RereadCredentials*>(self);
    *config = credentials->in_force_.NewerThan(credentials->known_).release();
    return *config == nullptr ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED
                              : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_.get());
  }

  const CertificatesInForce& in_force_;
  uint64_t known_ = 0;
  const std::unique_ptr<grpc_server_credentials, decltype(&grpc_server_credentials_release)>
      credentials_;
};

}  // namespace

ServerCertificates::ServerCertificates(const TlsFiles& files, FileRereader& rereader, Clock& clock,
                                       Metrics& metrics)
    : files_(files),
      clock_(clock),
      end_(metrics.Gauge("finetune_gateway_tls_certificate_end_seconds",
                         "When the service's certificate in force ends, since 1970.")),
      in_force_(std::make_unique<CertificatesInForce>()),
      watched_(rereader.Add("tls", [this](RereadFiles::Read read) { return Take(read); })) {}

ServerCertificates::~ServerCertificates() { watched_->Stop(); }

absl::StatusOr<std::unique_ptr<ServerCertificates>> ServerCertificates::Open(const TlsFiles& files,
                                                                             FileRereader& rereader,
                                                                             Clock& clock,
                                                                             Metrics& metrics) {
  std::unique_ptr<ServerCertificates> made(new ServerCertificates(files, rereader, clock, metrics));
  RETURN_IF_ERROR(made->watched_->Open());
  return made;
}

absl::Status ServerCertificates::Take(RereadFiles::Read read) {
  ASSIGN_OR_RETURN(TlsMaterial material, ReadTlsMaterial(files_, read));
  const absl::Time now = clock_.Now();
  const Validity validity = material.validity;
  // A certificate that nobody would accept does not replace a valid one.
  if (in_force_->version() > 0 && in_force_->validity().Includes(now)) {
    if (validity.end <= now)
      return absl::InvalidArgumentError(absl::StrCat("--tls_cert_file: the certificate in '",
                                                     files_.cert, "' has expired on ",
                                                     Day(validity.end)));
    if (validity.begin > now)
      return absl::UnavailableError(absl::StrCat("--tls_cert_file: the certificate in '",
                                                 files_.cert, "' is valid only from ",
                                                 Day(validity.begin), " on"));
  }
  in_force_->Set(std::move(material));
  end_.Set(absl::ToDoubleSeconds(validity.end - absl::UnixEpoch()));
  return absl::OkStatus();
}

std::shared_ptr<grpc::ServerCredentials> ServerCertificates::MakeCredentials() {
  return std::make_shared<RereadCredentials>(*in_force_, files_.mutual());
}

Validity ServerCertificates::validity() const { return in_force_->validity(); }

}  // namespace finetune
