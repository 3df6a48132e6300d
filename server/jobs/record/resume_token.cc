#include "server/jobs/record/resume_token.h"

#include "absl/strings/escaping.h"
#include "server/base/error.h"
#include "server/jobs/record/wire.h"
#include "server/store/lineage.h"

namespace finetune {
namespace {

// The layout: a format byte, the epoch with its length, the era (in the second format), the
// revision, and a checksum. The checksum guards against mix-ups and typing errors. A forger could
// only ask for changes that it may see anyway.
constexpr char kWithoutEra = 1;
constexpr char kWithEra = 2;
constexpr size_t kMaxEpoch = 64;
constexpr size_t kMaxToken = 128;
constexpr size_t kChecksumSize = 4;

// FNV-1a.
uint32_t Checksum(std::string_view bytes) {
  uint32_t hash = 2166136261u;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 16777619u;
  return hash;
}

uint64_t TakeVarint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

absl::Status Invalid() {
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::RESUME_TOKEN_INVALID,
               "the resume token is not one of this gateway's")
      .Field("resume_token", "must be sent back exactly as it was received");
}

}  // namespace

std::string EncodeResumeToken(const ResumePoint& point) {
  const bool with_era = point.era != Lineage::kFirstEra;
  std::string bytes(1, with_era ? kWithEra : kWithoutEra);
  AppendVarint(bytes, point.epoch.size());
  bytes += point.epoch;
  if (with_era) AppendVarint(bytes, point.era);
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
      bytes.size() < 2 + kChecksumSize) {
    return Invalid();
  }
  std::string_view rest(bytes);
  rest.remove_suffix(kChecksumSize);
  const char format = rest.front();
  rest.remove_prefix(1);
  const uint64_t epoch_size = TakeVarint(rest);
  if (epoch_size > kMaxEpoch || epoch_size > rest.size()) return Invalid();
  ResumePoint point;
  point.epoch = rest.substr(0, epoch_size);
  rest.remove_prefix(epoch_size);
  if (format == kWithEra) point.era = TakeVarint(rest);
  point.revision = TakeVarint(rest);
  // This also refuses an unknown format, a wrong checksum and any other spelling.
  if (EncodeResumeToken(point) != token) return Invalid();
  return point;
}

}  // namespace finetune
