#include <string>

#include "absl/strings/escaping.h"
#include "server/base/error.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/wire.h"

namespace finetune {
namespace {

// A format byte, the epoch with its length, the revision, and a checksum: against mix-ups and
// typing errors, not against forgers, who could only ask for changes that they may see anyway.
constexpr char kFormat = 1;
constexpr size_t kMaxEpoch = 64;
constexpr size_t kMaxToken = 128;
constexpr size_t kChecksumSize = 4;

// FNV-1a.
uint32_t Checksum(std::string_view bytes) {
  uint32_t hash = 2166136261u;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 16777619u;
  return hash;
}

absl::Status Invalid() {
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::RESUME_TOKEN_INVALID,
               "the resume token is not one of this gateway's")
      .Field("resume_token", "must be sent back exactly as it was received");
}

}  // namespace

std::string EncodeResumeToken(const ResumePoint& point) {
  std::string bytes(1, kFormat);
  AppendVarint(bytes, point.epoch.size());
  bytes += point.epoch;
  AppendVarint(bytes, point.revision);
  const uint32_t checksum = Checksum(bytes);
  for (size_t i = 0; i < kChecksumSize; ++i) {
    bytes.push_back(static_cast<char>(checksum >> (8 * i)));
  }
  return absl::WebSafeBase64Escape(bytes);
}

absl::StatusOr<ResumePoint> DecodeResumeToken(std::string_view token) {
  std::string bytes;
  if (token.size() > kMaxToken ||
      !absl::WebSafeBase64Unescape(absl::string_view(token.data(), token.size()), &bytes) ||
      bytes.size() < 2 + kChecksumSize || bytes[0] != kFormat) {
    return Invalid();
  }
  const size_t epoch_size = static_cast<unsigned char>(bytes[1]);
  const size_t revision_at = 2 + epoch_size;
  if (epoch_size > kMaxEpoch || revision_at + kChecksumSize >= bytes.size()) return Invalid();
  ResumePoint point;
  point.epoch = bytes.substr(2, epoch_size);
  int shift = 0;
  for (size_t i = revision_at; i < bytes.size() - kChecksumSize && shift < 64; ++i, shift += 7) {
    point.revision |= static_cast<uint64_t>(bytes[i] & 0x7f) << shift;
  }
  // Also refuses a wrong checksum and every other way to write the same.
  if (EncodeResumeToken(point) != token) return Invalid();
  return point;
}

}  // namespace finetune
