#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/reread_files.h"

namespace finetune {

// CA certificates, reread when their file changes, for libraries that want a path, such as libcurl.
// The file at path() holds the last certificates that passed the check, whatever happens to the
// source. Thread-safe.
class AuthoritiesFile {
 public:
  // INVALID_ARGUMENT in one sentence if the file cannot be read or holds no certificates.
  static absl::StatusOr<std::unique_ptr<AuthoritiesFile>> Open(const std::string& subject,
                                                               const std::string& source,
                                                               FileRereader& rereader);
  ~AuthoritiesFile();

  // Valid in this process only, and as long as this object. Read it anew for each connection.
  const std::string& path() const { return path_; }

 private:
  AuthoritiesFile(const std::string& subject, const std::string& source, FileRereader& rereader);
  absl::Status Take(RereadFiles::Read read) const;

  const std::string source_;
  // A file in memory. When the certificates change, another file takes over its descriptor, so that
  // a reader sees the old ones or the new ones, never half of each.
  const int file_;
  const std::string path_;
  const std::shared_ptr<RereadFiles> files_;
};

}  // namespace finetune
