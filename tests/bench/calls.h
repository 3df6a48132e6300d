#pragma once

#include <string>

namespace finetune::bench {

struct CallsOptions {
  std::string target;
  int pid = 0;
  std::string call = "get";  // get, list, status
  std::string job;           // For get.
  int page_size = 50;
  std::string token_file;  // Sent as a bearer token.
  // TLS, if there is an authority; with a certificate, mutual.
  std::string tls_ca_file;
  std::string tls_cert_file;
  std::string tls_key_file;
  int connections = 4;
  int outstanding = 64;  // Closed loop; with a rate, the most that may be out.
  double rate =
      0;  // Calls a second, open loop: latency counts from the scheduled time. 0: closed loop.
  double seconds = 5;
  size_t expect_items = 0;  // Of a list; every answer is checked.
};

// Prints one JSON object. False if an answer was an error or not what was expected.
bool RunCalls(const CallsOptions& options);

}  // namespace finetune::bench
