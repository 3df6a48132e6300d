#include "server/base/weights_head.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace finetune {
namespace {

// The format's own limit is 100 MB.
constexpr uint64_t kLongestHeader = 100'000'000;
constexpr size_t kLengthBytes = 8;

}  // namespace

std::optional<uint64_t> WeightsHeaderLength(std::string_view start) {
  if (start.size() <= kLengthBytes || start[kLengthBytes] != '{') return std::nullopt;
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i)
    length |= static_cast<uint64_t>(static_cast<unsigned char>(start[i])) << (8 * i);
  if (length < 2 || length > kLongestHeader) return std::nullopt;
  return length;
}

std::string SeemsToBe(std::string_view start) {
  if (start.empty()) return "an empty file";
  const absl::string_view text =
      absl::StripLeadingAsciiWhitespace(absl::string_view(start.data(), start.size()));
  const auto begins = [&](const char* with) { return absl::StartsWithIgnoreCase(text, with); };
  if (begins("<!doctype html") || begins("<html") || begins("<head") || begins("<body"))
    return "a web page";
  if (begins("\xef\xbb\xbf")) return "text";
  if (begins("<")) return "XML or HTML, such as a storage's error";
  if (begins("version https://git-lfs")) return "a Git LFS pointer in place of the file";
  if (begins("{") || begins("[")) return "JSON";
  if (begins("PK\3\4")) return "a zip";
  if (begins("\x1f\x8b")) return "a gzip-compressed file";
  const bool readable = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c >= 0x20 || absl::ascii_isspace(c);
  });
  return readable ? "text" : "a file of another format";
}

}  // namespace finetune
