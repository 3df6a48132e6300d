#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/http/http_client.h"

namespace finetune {

// The range to ask storage for, so that the answer always has the file's size and version, even for
// a file that ends right where the client wants to continue. For that it begins one byte earlier
// and, near the beginning of the file, includes all bytes that tell whether it is weights.
struct WeightsRange {
  // Of the client. `limit` 0: all.
  int64_t offset = 0;
  int64_t limit = 0;

  int64_t first() const;
  // One past the last byte that the client wants, and that is asked for; the largest number if
  // there is no limit.
  int64_t end() const;
  int64_t asked_end() const;
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
  // How many of the body's first bytes are the file's first ones, and tell what it is. 0: it does
  // not begin with those.
  int64_t telling = 0;
};

// Reads the head of a 200, 206 or 416. OUT_OF_RANGE; ABORTED / WEIGHTS_CHANGED if the file is not
// the one of `generation`, unless that is empty; INTERNAL / UPSTREAM_MALFORMED for an answer that
// contradicts itself or the question, is encoded, or is about no weights.
absl::StatusOr<WeightsAnswer> ReadWeightsAnswer(const WeightsRange& range,
                                                const std::string& generation,
                                                const HttpResponse& head);

// Looks at the first `telling` bytes of a file of `total`. INTERNAL / UPSTREAM_MALFORMED, saying
// what it seems to be, if it is no weights.
absl::Status CheckWeightsStart(std::string_view start, int64_t total);

}  // namespace finetune
