#pragma once

#include <string>
#include <vector>

namespace finetune::bench {

struct FanOutOptions {
  std::string target;
  int pid = 0;  // The server's, for CPU and memory.
  int streams = 10'000;
  int connections = 100;
  int changes = 20;
  std::string job;  // The resource name that the changes are made to.
};

// Opens the streams, waits until all are synced, then makes one change after another and waits
// until each stream has it. Prints one JSON object. False if a stream missed, repeated or reordered
// a change.
bool RunFanOut(const FanOutOptions& options);

}  // namespace finetune::bench
