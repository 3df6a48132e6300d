#include "server/access/authorities_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/access/tls_files.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

int MakeFile() { return memfd_create("authorities", MFD_CLOEXEC); }

absl::Status Failed() {
  return absl::InternalError(absl::StrCat("cannot keep the certificates: ", std::strerror(errno)));
}

bool WriteAll(int file, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno != EINTR) return false;
    text.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
  }
  return true;
}

}  // namespace

AuthoritiesFile::AuthoritiesFile(const std::string& subject, const std::string& source,
                                 FileRereader& rereader)
    : source_(source),
      file_(MakeFile()),
      path_(absl::StrCat("/proc/self/fd/", file_)),
      files_(rereader.Add(subject, [this](RereadFiles::Read read) { return Take(read); })) {}

absl::StatusOr<std::unique_ptr<AuthoritiesFile>> AuthoritiesFile::Open(const std::string& subject,
                                                                       const std::string& source,
                                                                       FileRereader& rereader) {
  std::unique_ptr<AuthoritiesFile> made(new AuthoritiesFile(subject, source, rereader));
  if (made->file_ < 0) return Failed();
  RETURN_IF_ERROR(made->files_->Open());
  return made;
}

AuthoritiesFile::~AuthoritiesFile() {
  files_->Stop();
  if (file_ >= 0) close(file_);
}

absl::Status AuthoritiesFile::Take(RereadFiles::Read read) const {
  ASSIGN_OR_RETURN(const std::string text, read(source_));
  ASSIGN_OR_RETURN(const std::string authorities,
                   CheckAuthorities(text, absl::StrCat("'", source_, "'")));
  const int next = MakeFile();
  if (next < 0) return Failed();
  const bool replaced = WriteAll(next, authorities) && dup3(next, file_, O_CLOEXEC) >= 0;
  const absl::Status outcome = replaced ? absl::OkStatus() : Failed();
  close(next);
  return outcome;
}

}  // namespace finetune
