// Gateways by name, in a file of the user's: contexts, as kubectl has them.
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

struct Config {
  std::string current;
  std::map<std::string, Context> contexts;
};

// $FINETUNE_CONFIG, else finetune/config.json below $XDG_CONFIG_HOME or ~/.config; empty where
// there is no home.
std::string ConfigPath();

// An empty config where there is no file. INVALID_ARGUMENT that names the file for one that cannot
// be read.
absl::StatusOr<Config> ReadConfig(const std::string& path);
// Whole or not at all; for nobody else's eyes, though it holds no secret.
absl::Status WriteConfig(const std::string& path, const Config& config);

}  // namespace finetune::cli
