#include "server/port_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace finetune {

absl::Status WritePortFile(const std::string& path, const Ports& ports) {
  struct stat there {};
  // A pipe or a device is written to; a file would take its place.
  const bool whole = stat(path.c_str(), &there) != 0 || S_ISREG(there.st_mode);
  const std::string draft = whole ? absl::StrCat(path, ".", getpid(), ".tmp") : path;
  std::ofstream file(draft);
  file << "{\"grpc\": " << ports.grpc
       << ", \"webhook\": " << (ports.webhook ? std::to_string(*ports.webhook) : "null")
       << ", \"admin\": " << ports.admin << "}\n";
  file.close();
  if (!file || (whole && std::rename(draft.c_str(), path.c_str()) != 0))
    return absl::InvalidArgumentError(absl::StrCat("--port_file: cannot write '", path, "'"));
  return absl::OkStatus();
}

}  // namespace finetune
