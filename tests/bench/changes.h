#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/receipts.h"

namespace finetune::bench {

// Makes a change and returns when that began (NowNanoseconds), or nullopt if it failed.
using MakeChange = std::function<std::optional<int64_t>(int change)>;

struct ChangesOptions {
  int pid = 0;         // The server's, for its CPU and memory.
  int receivers = 0;   // Who are subscribed.
  int deliveries = 0;  // Whom a change concerns.
  int changes = 20;
};

// What a server and its receivers make of changes, one after another: each is made when all have
// the one before. Milliseconds from when making it began; one value a change.
struct ChangesResult {
  std::vector<double> first, median, p99, last;
  // How long making it took, and how long that takes when there are no receivers: what of the above
  // is the server's own work, such as writing to disk, before it can tell anybody.
  std::vector<double> made, made_alone;
  double cpu_us_per_change = 0;    // The server's.
  double own_us_per_delivery = 0;  // The generator's CPU.
  double bytes_per_receiver = 0;   // The server's memory.
  bool complete = false;
};

// How long changes take when nobody is subscribed.
std::vector<double> MakeAlone(const MakeChange& make, int changes);

ChangesResult MeasureChanges(const ChangesOptions& options, Receipts& receipts,
                             const MakeChange& make);

// One line of JSON.
std::string ToJson(const ChangesOptions& options, const Receipts& receipts,
                   const ChangesResult& result);

}  // namespace finetune::bench
