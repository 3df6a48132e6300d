#include "server/service/transfers/weights_answer.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"

namespace finetune {
namespace {

absl::Status Malformed(absl::string_view why) {
  return Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
               absl::StrCat("Segmind's storage answers what cannot be: ", why));
}

std::optional<int64_t> NumberIn(absl::string_view text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 0) return std::nullopt;
  return number;
}

std::optional<int64_t> LengthOf(const HttpResponse& head) {
  const std::string_view text = head.Header("content-length");
  return NumberIn({text.data(), text.size()});
}

struct ContentRange {
  std::optional<int64_t> first, last, total;
};

// `bytes 1-2/3`, `bytes */3`.
ContentRange RangeOf(const HttpResponse& head) {
  ContentRange range;
  const std::string_view header = head.Header("content-range");
  absl::string_view text(header.data(), header.size());
  if (!absl::ConsumePrefix(&text, "bytes ")) return range;
  const size_t slash = text.find('/');
  if (slash == text.npos) return range;
  range.total = NumberIn(text.substr(slash + 1));
  const absl::string_view part = text.substr(0, slash);
  if (const size_t dash = part.find('-'); dash != part.npos) {
    range.first = NumberIn(part.substr(0, dash));
    range.last = NumberIn(part.substr(dash + 1));
  }
  return range;
}

std::string GenerationOf(const HttpResponse& head) {
  for (const char* name : {"x-goog-generation", "etag", "last-modified"})
    if (const std::string_view value = head.Header(name); !value.empty())
      return ValidUtf8(value, 256);
  return "";
}

absl::Status BeyondTheEnd(int64_t offset) {
  return absl::OutOfRangeError(
      absl::StrCat("read_offset ", offset, " lies beyond the end of the weights"));
}

}  // namespace

int64_t WeightsRange::end() const {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return limit == 0 || limit > kMost - offset ? kMost : offset + limit;
}

std::string WeightsRange::header() const {
  if (offset == 0 && limit == 0) return "";
  if (end() == std::numeric_limits<int64_t>::max()) return absl::StrCat("bytes=", first(), "-");
  return absl::StrCat("bytes=", first(), "-", end() - 1);
}

absl::StatusOr<WeightsAnswer> ReadWeightsAnswer(const WeightsRange& range,
                                                const HttpResponse& head) {
  WeightsAnswer answer{.generation = GenerationOf(head)};
  const ContentRange part = RangeOf(head);
  if (head.code == 416) {
    if (range.offset > 0) return BeyondTheEnd(range.offset);
    if (part.total != 0) return Malformed("no byte at offset 0");
    return answer;
  }
  const std::optional<int64_t> length = LengthOf(head);
  if (head.code == 206) {
    if (!part.first || !part.last || !part.total) return Malformed("a part without Content-Range");
    if (*part.first != range.first() || *part.last < *part.first || *part.last >= *part.total ||
        *part.last >= range.end())
      return Malformed("another part than was asked for");
    if (length && *length != *part.last - *part.first + 1)
      return Malformed("a part of another length than its Content-Range");
    answer.total = *part.total;
    answer.skip = range.offset - *part.first;
  } else {
    if (!length) return Malformed("no Content-Length");
    answer.total = *length;
    answer.skip = range.offset;
  }
  if (range.offset > answer.total) return BeyondTheEnd(range.offset);
  answer.wanted = std::min(range.end(), answer.total) - range.offset;
  return answer;
}

}  // namespace finetune
