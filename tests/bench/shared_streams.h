#pragma once

#include <string>

namespace finetune::bench {

struct SharedStreamsOptions {
  std::string target;
  int pid = 0;  // The server's, for CPU and memory.
  // Each is what a process would have: a client with channels of its own, and one stream.
  int clients = 100;
  int subscriptions = 100;  // Of each client.
  int changes = 20;
  std::string job;  // The resource name that the changes are made to.
};

// As RunFanOut, over the client library: one change to all local subscriptions of all clients, each
// subscription with names or a filter of its own.
bool RunSharedStreams(const SharedStreamsOptions& options);

}  // namespace finetune::bench
