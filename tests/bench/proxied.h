#pragma once

#include <string>
#include <vector>

namespace finetune::bench {

struct ProxiedOptions {
  std::string target;  // HOST:PORT of a gRPC server, or a URL: then the call is made with libcurl.
  std::string call = "status";       // status, create, upload-url
  std::string job;                   // For status over gRPC.
  std::vector<std::string> headers;  // For a URL.
  int calls = 1000;
  int warm_up = 100;
};

// Makes one call after another and prints one JSON object with their times. False if one failed.
bool RunProxied(const ProxiedOptions& options);

}  // namespace finetune::bench
