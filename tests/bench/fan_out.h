#pragma once

#include <string>

namespace finetune::bench {

struct FanOutOptions {
  // Several are separated by commas; each has its part of the streams and of the connections. The
  // first one is where changes are made.
  std::string target;
  int pid = 0;  // The server's, for CPU and memory.
  int streams = 10'000;
  int connections = 100;
  // Read frames (MakeFrameStreams) rather than by gRPC's client.
  bool frames = false;
  int changes = 20;
  std::string job;  // The resource name that the changes are made to.
  // After each but the last, waits for a line on standard input.
  int rounds = 1;
  // So many streams after one another want the same: the filter with their number for each `{}`, or
  // the name in that line of a file. Without either all want everything.
  int group = 10;
  std::string filter;
  std::string names_file;
  // Streams that a change concerns; 0: all.
  int concerned = 0;
};

// Opens the streams, waits until all are synced, then makes one change after another and waits
// until each stream that it concerns has it. Prints one JSON object a round. False if a stream
// missed, repeated or reordered a change.
bool RunFanOut(const FanOutOptions& options);

// Opens the streams, says so with a line, and keeps reading until standard input ends; for each
// line there it says what revision all streams have come to.
bool RunHold(const FanOutOptions& options);

}  // namespace finetune::bench
