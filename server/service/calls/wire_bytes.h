#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/jobs/record/wire.h"

namespace finetune {

// The few pieces of protobuf's wire form that answers made of ready bytes are put together with.
// A field that occurs again overrides (or, for messages, is merged into) the one before it.

inline void AppendVarintField(std::string& out, int field, uint64_t value) {
  AppendVarint(out, static_cast<uint64_t>(field) << 3);
  AppendVarint(out, value);
}

// The tag and length that a string, bytes or message field of `size` bytes begins with.
inline void AppendLengthPrefix(std::string& out, int field, size_t size) {
  AppendVarint(out, static_cast<uint64_t>(field) << 3 | 2);
  AppendVarint(out, size);
}

inline void AppendBytesField(std::string& out, int field, std::string_view bytes) {
  AppendLengthPrefix(out, field, bytes.size());
  out.append(bytes);
}

inline void AppendFixed32Field(std::string& out, int field, uint32_t value) {
  AppendVarint(out, static_cast<uint64_t>(field) << 3 | 5);
  for (int i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i));
}

// A google.protobuf.Timestamp field, both numbers written even if 0, so that it overrides an
// earlier one.
inline void AppendTimestampField(std::string& out, int field, absl::Time time) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  std::string message;
  AppendVarintField(message, 1, static_cast<uint64_t>(seconds));
  AppendVarintField(
      message, 2,
      static_cast<uint64_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  AppendLengthPrefix(out, field, message.size());
  out += message;
}

}  // namespace finetune
