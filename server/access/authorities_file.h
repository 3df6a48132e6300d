#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/reread_files.h"

namespace finetune {

// Certificates of authorities, reread when their file changes, for those who take a file's path, as
// libcurl does: what path() names holds what was checked last, whatever becomes of the file.
class AuthoritiesFile {
 public:
  // INVALID_ARGUMENT in one sentence if the file cannot be read or holds no certificates.
  static absl::StatusOr<std::unique_ptr<AuthoritiesFile>> Open(const std::string& subject,
                                                               const std::string& source,
                                                               FileRereader& rereader);
  ~AuthoritiesFile();

  // For this process alone, and for as long as this lives. Read it anew for each connection.
  const std::string& path() const { return path_; }

 private:
  AuthoritiesFile(const std::string& subject, const std::string& source, FileRereader& rereader);
  absl::Status Take(RereadFiles::Read read) const;

  const std::string source_;
  // A file in memory. Another one takes its number when there is something new, so that who reads
  // meets the one or the other, and never half of both.
  const int file_;
  const std::string path_;
  const std::shared_ptr<RereadFiles> files_;
};

}  // namespace finetune
