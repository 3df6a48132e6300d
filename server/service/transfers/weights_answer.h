#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/http/http_client.h"

namespace finetune {

// What storage is asked for, so that the answer always tells the file's size and version: also of a
// file that ends right where the client wants to continue. For that, one byte more in front.
struct WeightsRange {
  // Of the client. `limit` 0: all.
  int64_t offset = 0;
  int64_t limit = 0;

  int64_t first() const { return offset > 0 ? offset - 1 : 0; }
  // One past the last byte; the largest number if there is no limit.
  int64_t end() const;
  // The Range header's value; empty if the whole file is wanted.
  std::string header() const;
};

// What storage's answer to it says.
struct WeightsAnswer {
  int64_t total = 0;
  std::string generation;
  // Of the body's bytes, how many come before those that the client wants ...
  int64_t skip = 0;
  // ... and how many of those there are to come.
  int64_t wanted = 0;
};

// Reads the head of a 200, 206 or 416. OUT_OF_RANGE, or INTERNAL / UPSTREAM_MALFORMED for one that
// contradicts itself or the question.
absl::StatusOr<WeightsAnswer> ReadWeightsAnswer(const WeightsRange& range,
                                                const HttpResponse& head);

}  // namespace finetune
