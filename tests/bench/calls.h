#pragma once

#include <string>
#include <vector>

#include "client/cpp/channel.h"

namespace finetune::bench {

struct CallsOptions {
  std::string target;                // HOST:PORT.
  int pid = 0;                       // The server's, for its CPU.
  std::string call = "get";          // get, list, status; http: a GET of `path`.
  std::string job;                   // For get.
  int64_t max_staleness_ms = -1;     // For get; -1: from memory as it is.
  int page_size = 50;                // For list.
  ConnectOptions connect;            // Credentials, but for http.
  std::string path;                  // For http,
  std::vector<std::string> headers;  // "Name: value".
  int connections = 4;
  int outstanding = 64;  // Closed loop; over HTTP no more than there are connections.
  // Calls a second, open loop: latency counts from the scheduled time. 0: closed loop.
  double rate = 0;
  // Of an open loop: with so many outstanding the next is not begun, but counted. 0: no bound.
  int most_outstanding = 0;
  double seconds = 5;
  size_t expect_items = 0;  // Of a list's first answer.
  bool varying = false;     // Answers differ from one another.
  // Calls may be refused: that is counted, and no error.
  bool refusals = false;
};

// Prints one JSON object. False if an answer was an error or not what was expected.
bool RunCalls(const CallsOptions& options);

}  // namespace finetune::bench
