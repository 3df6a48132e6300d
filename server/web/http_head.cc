#include "server/web/http_head.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace finetune {
namespace {

constexpr size_t kMostTargetBytes = size_t{8} << 10;
constexpr size_t kMostFields = 100;
constexpr size_t kMostMethodBytes = 32;
constexpr size_t kMostTrailerBytes = size_t{4} << 10;
constexpr size_t kMostSizeLineBytes = 256;
// 2^60: no body is that long, and nothing overflows.
constexpr size_t kMostSizeDigits = 15;

using Refusal = std::optional<HttpRefusal>;

Refusal Bad(std::string_view why) { return HttpRefusal{400, why}; }

bool IsTokenChar(char c) {
  constexpr absl::string_view kOthers = "!#$%&'*+-.^_`|~";
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(kOthers, c);
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

// Whether all are visible characters, spaces, tabs or bytes beyond ASCII.
bool IsFieldText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string_view Trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase(absl::string_view(a.data(), a.size()),
                                absl::string_view(b.data(), b.size()));
}

bool AreDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
}

// Replaces each %XX by its byte. False for a bad escape and for a control character: no path here
// has one, and a NUL would end the path for code that reads C strings.
bool DecodePath(std::string_view text, std::string& path) {
  path.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size() || !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) ||
          !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2])))
        return false;
      c = absl::HexStringToBytes(absl::string_view(text.data() + i + 1, 2))[0];
      if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) return false;
      i += 2;
    }
    path += c;
  }
  return true;
}

// What follows the host in `http://host/path`; other targets whole. Proxies send the whole URL.
std::string_view WithoutAuthority(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() <= scheme.size() ||
        !EqualsIgnoreCase(target.substr(0, scheme.size()), scheme))
      continue;
    target.remove_prefix(scheme.size());
    const size_t end = target.find_first_of("/?");
    return end == target.npos ? "/" : target.substr(end);
  }
  return target;
}

Refusal ParseVersion(std::string_view version, HttpHead& head) {
  const bool well_formed = version.size() == 8 && version.substr(0, 5) == "HTTP/" &&
                           AreDigits(version.substr(5, 1)) && version[6] == '.' &&
                           AreDigits(version.substr(7, 1));
  if (!well_formed) return Bad("the request line does not end with an HTTP version");
  if (version[5] != '1') return HttpRefusal{505, "only HTTP/1.1 is spoken here"};
  head.keep_alive = version[7] != '0';
  return std::nullopt;
}

Refusal ParseRequestLine(std::string_view line, HttpHead& head) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == line.npos || first == last) return Bad("the request line is not one of HTTP/1.1");
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (!IsToken(method) || method.size() > kMostMethodBytes) return Bad("the method is none");
  head.method = std::string(method);
  if (Refusal refusal = ParseVersion(line.substr(last + 1), head)) return refusal;
  const bool visible = std::all_of(target.begin(), target.end(),
                                   [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
  if (target.empty() || !visible) return Bad("the target is no path");
  const std::string_view local = WithoutAuthority(target);
  const size_t question = std::min(local.find('?'), local.size());
  head.query = std::string(local.substr(std::min(question + 1, local.size())));
  if (!DecodePath(local.substr(0, question), head.path)) return HttpRefusal{404, "not found"};
  return std::nullopt;
}

Refusal ParseField(std::string_view line, HttpHead& head) {
  const size_t colon = line.find(':');
  // This also refuses a line that begins with a space, which would continue the one before.
  if (colon == line.npos || !IsToken(line.substr(0, colon))) return Bad("a header has no name");
  const std::string_view value = Trimmed(line.substr(colon + 1));
  if (!IsFieldText(value)) return Bad("a header holds a control character");
  if (head.fields.size() >= kMostFields) return HttpRefusal{431, "too many headers"};
  head.fields.push_back(
      {absl::AsciiStrToLower(absl::string_view(line.data(), colon)), std::string(value)});
  return std::nullopt;
}

// Finds out how long the body is. At most one header may say so, and only once.
Refusal ParseFraming(bool knows_chunks, HttpHead& head) {
  const auto count = [&](std::string_view name) {
    return std::count_if(head.fields.begin(), head.fields.end(),
                         [&](const HttpHead::Field& field) { return field.name == name; });
  };
  const auto lengths = count("content-length"), encodings = count("transfer-encoding");
  if (lengths + encodings > 1) return Bad("more than one length");
  if (encodings == 1) {
    const std::string& encoding = *head.Find("transfer-encoding");
    if (!EqualsIgnoreCase(encoding, "chunked") || !knows_chunks)
      return Bad("the only transfer encoding here is chunked, in HTTP/1.1");
    head.body = HttpHead::Body::kChunked;
  } else if (lengths == 1) {
    const std::string& length = *head.Find("content-length");
    if (!AreDigits(length)) return Bad("the length is no number");
    if (!absl::SimpleAtoi(length, &head.length)) head.length = UINT64_MAX;
    head.body = head.length == 0 ? HttpHead::Body::kNone : HttpHead::Body::kOfLength;
  }
  return std::nullopt;
}

void ParseConnection(HttpHead& head) {
  for (const HttpHead::Field& field : head.fields) {
    if (field.name != "connection") continue;
    for (absl::string_view word : absl::StrSplit(field.value, ',')) {
      word = absl::StripAsciiWhitespace(word);
      if (absl::EqualsIgnoreCase(word, "close")) head.keep_alive = false;
    }
  }
}

}  // namespace

const std::string* HttpHead::Find(std::string_view name) const {
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const Field& field) { return field.name == name; });
  return found == fields.end() ? nullptr : &found->value;
}

HeadEnd FindHeadEnd(std::string_view text) {
  const size_t end = text.find("\r\n\r\n");
  const std::string_view head = text.substr(0, end == text.npos ? end : end + 4);
  // A client that ends lines with LF alone would wait forever for the end of the head.
  for (size_t at = head.find('\n'); at != head.npos; at = head.find('\n', at + 1))
    if (at == 0 || head[at - 1] != '\r') return {0, Bad("lines end with CR and LF")};
  const std::string_view first_line = head.substr(0, head.find('\r'));
  if (first_line.size() > kMostTargetBytes + kMostMethodBytes)
    return {0, HttpRefusal{414, "the path is too long"}};
  if (head.size() > kMostHeadBytes) return {0, HttpRefusal{431, "the headers are too long"}};
  return {end == text.npos ? 0 : end + 4, std::nullopt};
}

std::optional<HttpRefusal> ParseHead(std::string_view text, HttpHead& head) {
  size_t line_end = text.find("\r\n");
  if (Refusal refusal = ParseRequestLine(text.substr(0, line_end), head)) return refusal;
  const bool is_1_1 = head.keep_alive;
  text.remove_prefix(line_end + 2);
  while ((line_end = text.find("\r\n")) != 0 && line_end != text.npos) {
    if (Refusal refusal = ParseField(text.substr(0, line_end), head)) return refusal;
    text.remove_prefix(line_end + 2);
  }
  const auto hosts =
      std::count_if(head.fields.begin(), head.fields.end(),
                    [](const HttpHead::Field& field) { return field.name == "host"; });
  if (hosts > 1 || (hosts == 0 && is_1_1)) return Bad("there must be one Host");
  if (Refusal refusal = ParseFraming(is_1_1, head)) return refusal;
  ParseConnection(head);
  const std::string* expected = head.Find("expect");
  if (expected == nullptr || !is_1_1) return std::nullopt;
  if (!EqualsIgnoreCase(*expected, "100-continue"))
    return HttpRefusal{417, "nothing but 100-continue may be expected"};
  head.awaits_continue = head.body != HttpHead::Body::kNone;
  return std::nullopt;
}

std::optional<HttpRefusal> ChunkDecoder::TakeSize(std::string_view line) {
  const std::string_view digits = line.substr(0, line.find(';'));
  const bool hexadecimal = std::all_of(digits.begin(), digits.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  if (digits.empty() || !hexadecimal || !IsFieldText(line)) return Bad("a chunk has no length");
  if (digits.size() > kMostSizeDigits) return HttpRefusal{413, "too long"};
  left_ = std::stoull(std::string(digits), nullptr, 16);
  state_ = left_ == 0 ? State::kTrailer : State::kData;
  return std::nullopt;
}

std::optional<HttpRefusal> ChunkDecoder::Take(std::string_view& input, std::string& data) {
  while (!input.empty() && state_ != State::kDone) {
    if (state_ == State::kData) {
      const size_t size = std::min<uint64_t>(left_, input.size());
      data.append(input.substr(0, size));
      input.remove_prefix(size);
      left_ -= size;
      if (left_ == 0) state_ = State::kDataEnd;
      continue;
    }
    // Everything else is a line.
    const size_t end = input.find('\n');
    line_.append(input.substr(0, end));
    input.remove_prefix(std::min(end, input.size() - 1) + 1);
    if (line_.size() > kMostTrailerBytes) return Bad("a line is too long");
    if (end == input.npos) continue;
    if (line_.empty() || line_.back() != '\r') return Bad("lines end with CR and LF");
    line_.pop_back();
    const std::string line = std::exchange(line_, "");
    if (state_ == State::kSize) {
      if (line.size() > kMostSizeLineBytes) return Bad("a line is too long");
      if (Refusal refusal = TakeSize(line)) return refusal;
    } else if (state_ == State::kDataEnd) {
      if (!line.empty()) return Bad("a chunk is longer than it says");
      state_ = State::kSize;
    } else {
      trailer_bytes_ += line.size();
      if (line.empty()) state_ = State::kDone;
      if (trailer_bytes_ > kMostTrailerBytes) return Bad("the trailer is too long");
    }
  }
  return std::nullopt;
}

}  // namespace finetune
