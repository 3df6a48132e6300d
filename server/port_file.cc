#include "server/port_file.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace finetune {

absl::Status WritePortFile(const std::string& path, const Ports& ports) {
  const std::string draft = absl::StrCat(path, ".", getpid(), ".tmp");
  std::ofstream file(draft);
  file << "{\"grpc\": " << ports.grpc
       << ", \"webhook\": " << (ports.webhook ? std::to_string(*ports.webhook) : "null")
       << ", \"admin\": " << ports.admin << "}\n";
  file.close();
  if (!file || std::rename(draft.c_str(), path.c_str()) != 0)
    return absl::InvalidArgumentError(absl::StrCat("--port_file: cannot write '", path, "'"));
  return absl::OkStatus();
}

}  // namespace finetune
