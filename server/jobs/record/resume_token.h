#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune {

// What a resume token says: a revision of one history (epoch), as it was seen in one era of it.
struct ResumePoint {
  std::string epoch;
  // Lineage::kFirstEra in tokens of the first format, which knew no eras.
  uint64_t era = 0;
  uint64_t revision = 0;

  bool operator==(const ResumePoint&) const = default;
};

std::string EncodeResumeToken(const ResumePoint& point);
// INVALID_ARGUMENT / RESUME_TOKEN_INVALID if this is not one of ours.
absl::StatusOr<ResumePoint> DecodeResumeToken(std::string_view token);

}  // namespace finetune
