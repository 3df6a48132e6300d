#include "server/service/transfers/weights_answer.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/weights_head.h"

namespace finetune {
namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr uint64_t kLengthBytes = 8;

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

// Such as `bytes 1-2/3` or `bytes */3`.
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

// Some storages put into this header what was done to the body on its way, such as how it was
// chunked.
absl::Status CheckCoding(const HttpResponse& head) {
  const std::string_view header = head.Header("content-encoding");
  for (absl::string_view coding :
       absl::StrSplit(absl::string_view(header.data(), header.size()), ',')) {
    coding = absl::StripAsciiWhitespace(coding);
    if (coding.empty() || absl::EqualsIgnoreCase(coding, "identity") ||
        absl::EqualsIgnoreCase(coding, "aws-chunked"))
      continue;
    return Malformed(absl::StrCat(
        "bytes that are packed (Content-Encoding: ", ValidUtf8({coding.data(), coding.size()}, 40),
        "), though they were asked for as they are"));
  }
  return absl::OkStatus();
}

// Judges by type a part that does not begin where the bytes show what they are.
absl::Status CheckType(const HttpResponse& head) {
  const std::string_view type = head.Header("content-type");
  for (const char* text :
       {"text/html", "application/xhtml", "application/json", "application/xml", "text/xml"})
    if (absl::StartsWithIgnoreCase(absl::string_view(type.data(), type.size()), text))
      return Malformed(absl::StrCat("it is of the type ", text, ", and no weights"));
  return absl::OkStatus();
}

absl::Status NoWeights(int64_t total, const HttpResponse& head) {
  RETURN_IF_ERROR(CheckType(head));
  if (total == 0) return Malformed("an empty file, and no weights");
  return Malformed(absl::StrCat("a file of ", total, " bytes, and no weights"));
}

absl::Status Changed() {
  return Error(absl::StatusCode::kAborted, pb::ErrorReason::WEIGHTS_CHANGED,
               "the stored weights are no longer those of `generation`: download them "
               "anew, from the start");
}

absl::Status BeyondTheEnd(int64_t offset) {
  return absl::OutOfRangeError(
      absl::StrCat("read_offset ", offset, " lies beyond the end of the weights"));
}

// What storage's 416 means.
absl::Status NothingThere(const WeightsRange& range, const std::string& generation,
                          const WeightsAnswer& answer, const ContentRange& part) {
  // The client has more bytes than the file has now.
  if (!generation.empty() && generation != answer.generation) return Changed();
  if (part.total == 0) return Malformed("an empty file, and no weights");
  if (range.first() > 0) return BeyondTheEnd(range.offset);
  return Malformed("no byte at offset 0");
}

}  // namespace

int64_t WeightsRange::first() const {
  return offset > static_cast<int64_t>(kTellingBytes) ? offset - 1 : 0;
}

int64_t WeightsRange::end() const {
  return limit == 0 || limit > kMost - offset ? kMost : offset + limit;
}

int64_t WeightsRange::asked_end() const {
  return first() == 0 ? std::max(end(), static_cast<int64_t>(kTellingBytes)) : end();
}

std::string WeightsRange::header() const {
  if (first() == 0 && limit == 0) return "";
  if (asked_end() == kMost) return absl::StrCat("bytes=", first(), "-");
  return absl::StrCat("bytes=", first(), "-", asked_end() - 1);
}

absl::StatusOr<WeightsAnswer> ReadWeightsAnswer(const WeightsRange& range,
                                                const std::string& generation,
                                                const HttpResponse& head) {
  WeightsAnswer answer{.generation = GenerationOf(head)};
  const ContentRange part = RangeOf(head);
  if (head.code == 416) return NothingThere(range, generation, answer, part);
  RETURN_IF_ERROR(CheckCoding(head));
  const std::optional<int64_t> length = LengthOf(head);
  int64_t body_end = 0;
  int64_t first = 0;
  if (head.code == 206) {
    if (!part.first || !part.last || !part.total) return Malformed("a part without Content-Range");
    if (*part.first != range.first() || *part.last < *part.first || *part.last >= *part.total ||
        *part.last >= range.asked_end())
      return Malformed("another part than was asked for");
    if (length && *length != *part.last - *part.first + 1)
      return Malformed("a part of another length than its Content-Range");
    answer.total = *part.total;
    first = *part.first;
    body_end = *part.last + 1;
  } else {
    if (!length) return Malformed("no Content-Length");
    answer.total = *length;
    body_end = *length;
  }
  if (!generation.empty() && generation != answer.generation) return Changed();
  if (answer.total < kLeastWeightsBytes) return NoWeights(answer.total, head);
  if (first > 0) RETURN_IF_ERROR(CheckType(head));
  if (range.offset > answer.total) return BeyondTheEnd(range.offset);
  answer.skip = range.offset - first;
  answer.wanted = std::min(range.end(), answer.total) - range.offset;
  if (first == 0) answer.telling = std::min<int64_t>(kTellingBytes, body_end);
  return answer;
}

absl::Status CheckWeightsStart(std::string_view start, int64_t total) {
  const std::optional<uint64_t> header = WeightsHeaderLength(start);
  if (!header)
    return Malformed(absl::StrCat("it is ", SeemsToBe(start), ", and no weights (.safetensors)"));
  if (*header > static_cast<uint64_t>(total) - kLengthBytes)
    return Malformed("weights that end within their own header");
  return absl::OkStatus();
}

}  // namespace finetune
