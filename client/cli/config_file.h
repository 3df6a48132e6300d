// The user's file of gateways by name: contexts, as in kubectl.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/channel.h"

namespace finetune::cli {

// How to reach one gateway.
struct Context {
  std::string server;
  bool tls = false;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_server_name;
  std::string token_file;
  bool allow_insecure_token = false;

  bool operator==(const Context&) const = default;
};

// The content of the file.
struct Config {
  std::string current;
  std::map<std::string, Context> contexts;
};

// $FINETUNE_CONFIG, or finetune/config.json below $XDG_CONFIG_HOME or ~/.config; empty if there is
// no home directory.
std::string ConfigPath();

// An empty config if there is no file. INVALID_ARGUMENT that names the file if it cannot be read.
absl::StatusOr<Config> ReadConfig(const std::string& path);
// Writes all of it or nothing. Only the user may read the file, although it holds no secret.
absl::Status WriteConfig(const std::string& path, const Config& config);

}  // namespace finetune::cli
