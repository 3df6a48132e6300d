#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/tls_files.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/reread_files.h"

namespace finetune {

class CertificatesInForce;

// The service's certificate and key, and the authorities of client certificates, reread when their
// files change: new connections use the new ones, and open connections go on. gRPC gets only what
// was checked, because its own file watcher ends the process when it meets a bad file. Thread-safe.
// What Open is given outlives it.
class ServerCertificates {
 public:
  // INVALID_ARGUMENT, in one sentence, if a file cannot be read or the key is not the
  // certificate's.
  static absl::StatusOr<std::unique_ptr<ServerCertificates>> Open(const TlsFiles& files,
                                                                  FileRereader& rereader,
                                                                  Clock& clock, Metrics& metrics);
  ~ServerCertificates();

  // For one port of one server, which must end before this object.
  std::shared_ptr<grpc::ServerCredentials> MakeCredentials();

  // The validity of the certificate in force.
  Validity validity() const;

 private:
  ServerCertificates(const TlsFiles& files, FileRereader& rereader, Clock& clock, Metrics& metrics);
  absl::Status Take(RereadFiles::Read read);

  const TlsFiles files_;
  Clock& clock_;
  prometheus::Gauge& end_;
  const std::unique_ptr<CertificatesInForce> in_force_;
  const std::shared_ptr<RereadFiles> watched_;
};

}  // namespace finetune
