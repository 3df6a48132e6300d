#include "server/segmind/scrubber.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace finetune {
namespace {

constexpr std::string_view kRemoved = "[removed]";
// A shorter code of a key could be anything.
constexpr size_t kLeastCode = 8;
constexpr size_t kLongestShift = 255;

bool IsSpace(unsigned char c) { return c <= ' ' || c == 0x7f; }

// The length of the invisible character at `text[i]`: white space, a control character, a
// non-breaking space, or one without width. 0 if it is none.
size_t InvisibleAt(std::string_view text, size_t i) {
  const auto at = [&](size_t k) {
    return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u;
  };
  if (IsSpace(at(0))) return 1;
  if (at(0) == 0xc2 && (at(1) == 0xa0 || at(1) == 0xad)) return 2;
  if (at(0) == 0xe2 && at(1) == 0x80 && at(2) >= 0x80 && at(2) <= 0x8f) return 3;
  if (at(0) == 0xe2 && at(1) == 0x81 && at(2) == 0xa0) return 3;
  if (at(0) == 0xef && at(1) == 0xbb && at(2) == 0xbf) return 3;
  return 0;
}

bool IsPercentAt(std::string_view text, size_t i) {
  return text[i] == '%' && i + 2 < text.size() &&
         absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) &&
         absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]));
}

char PercentAt(std::string_view text, size_t i) {
  uint32_t byte = 0;
  (void)absl::SimpleHexAtoi(absl::string_view(text.data() + i + 1, 2), &byte);
  return static_cast<char>(byte);
}

// Whether this byte may hide a key: it is `%`, or may begin an invisible character.
constexpr bool IsHider(unsigned char c) { return c <= ' ' || c == '%' || c >= 0x7f; }

// The position of the first such byte from `from` on, or the text's size.
size_t FindHider(std::string_view text, size_t from) {
#if defined(__SSE2__)
  for (; from + 16 <= text.size(); from += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + from));
    // As signed bytes, those beyond ASCII are below all others.
    const __m128i hiders = _mm_or_si128(_mm_or_si128(_mm_cmplt_epi8(bytes, _mm_set1_epi8(' ' + 1)),
                                                     _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f))),
                                        _mm_cmpeq_epi8(bytes, _mm_set1_epi8('%')));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(hiders));
    if (mask != 0) return from + static_cast<size_t>(std::countr_zero(mask));
  }
#endif
  while (from < text.size() && !IsHider(static_cast<unsigned char>(text[from]))) ++from;
  return from;
}

// The base64 letters that depend on `key` alone, with `before` bytes in front of it.
std::string InnerBase64(const std::string& key, size_t before) {
  const std::string code = absl::Base64Escape(std::string(before, '\0') + key);
  const size_t begin = (8 * before + 5) / 6;
  const size_t end = 8 * (before + key.size()) / 6;
  return code.substr(begin, end - begin);
}

bool IsBase64(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '/' || c == '-' ||
         c == '_' || c == '=';
}

}  // namespace

struct Scrubber::Folded {
  explicit Folded(std::string_view whole) : text(whole) {
    for (size_t i = 0; i < whole.size(); ++i) places.push_back({i, i + 1});
    // A key may be encoded twice, or split and then encoded.
    constexpr int kRounds = 4;
    for (int round = 0; round < kRounds && FoldOnce(); ++round) {
    }
  }

  bool FoldOnce() {
    std::string shorter;
    std::vector<Place> left;
    for (size_t i = 0; i < text.size();) {
      if (const size_t invisible = InvisibleAt(text, i); invisible > 0) {
        i += invisible;
      } else if (IsPercentAt(text, i)) {
        shorter += PercentAt(text, i);
        left.push_back({places[i].begin, places[i + 2].end});
        i += 3;
      } else {
        shorter += text[i];
        left.push_back(places[i++]);
      }
    }
    const bool changed = shorter.size() != text.size();
    text = std::move(shorter);
    places = std::move(left);
    return changed;
  }

  // Extends the match over the letters beside a code, which hold some of its bits or belong to the
  // same text.
  void Widen(Match& match, size_t from) const {
    while (match.begin > from && IsBase64(text[match.begin - 1]) &&
           places[match.begin - 1].end == places[match.begin].begin)
      --match.begin;
    while (match.end < text.size() && IsBase64(text[match.end]) &&
           places[match.end - 1].end == places[match.end].begin)
      ++match.end;
  }

  std::string text;
  std::vector<Place> places;  // Of each of its bytes in the whole text.
};

Scrubber::Scrubber(const Secret& secret) {
  const std::string& key = secret.Reveal();
  if (key.size() < 2) return;
  AddPattern(key);
  for (size_t before = 0; before < 3; ++before) {
    std::string code = InnerBase64(key, before);
    if (code.size() < kLeastCode) continue;
    AddPattern(code);
    std::replace(code.begin(), code.end(), '+', '-');
    std::replace(code.begin(), code.end(), '/', '_');
    AddPattern(std::move(code));
  }
  std::string hex = absl::BytesToHexString(key);
  if (hex.size() >= kLeastCode) {
    AddPattern(absl::AsciiStrToUpper(hex));
    AddPattern(std::move(hex));
  }
  shortest_ = key.size();
  for (const std::string& pattern : patterns_) shortest_ = std::min(shortest_, pattern.size());
  const size_t window = std::min(shortest_, kLongestShift);
  shifts_.fill(static_cast<uint8_t>(window - 1));
  for (const std::string& pattern : patterns_) {
    for (size_t i = 0; i + 1 < window; ++i) {
      uint8_t& shift = shifts_[ShiftIndex(pattern.data() + i)];
      shift = std::min(shift, static_cast<uint8_t>(window - 2 - i));
    }
  }
}

Scrubber::~Scrubber() {
  for (std::string& pattern : patterns_) OPENSSL_cleanse(pattern.data(), pattern.size());
}

void Scrubber::AddPattern(std::string pattern) {
  if (std::find(patterns_.begin(), patterns_.end(), pattern) == patterns_.end())
    patterns_.push_back(std::move(pattern));
}

// Wu and Manber's search for all patterns at once.
Scrubber::Match Scrubber::Find(std::string_view text, size_t from) const {
  const size_t window = std::min(shortest_, kLongestShift);
  for (size_t begin = from; begin + window <= text.size();) {
    const size_t shift = shifts_[ShiftIndex(text.data() + begin + window - 2)];
    if (shift > 0) {
      begin += shift;
      continue;
    }
    for (size_t p = 0; p < patterns_.size(); ++p) {
      if (text.substr(begin, patterns_[p].size()) != patterns_[p]) continue;
      // The key itself is the first pattern.
      return {begin, begin + patterns_[p].size(), p > 0};
    }
    ++begin;
  }
  return {text.size(), text.size(), false};
}

bool Scrubber::Finds(std::string_view text) const {
  if (patterns_.empty() || text.size() < shortest_) return false;
  size_t hider = FindHider(text, 0);
  if (hider == text.size()) return Find(text, 0).begin < text.size();
  const bool encoded = text.find('%') != std::string_view::npos;
  if (encoded) {
    const Folded folded(text);
    return Find(folded.text, 0).begin < folded.text.size();
  }
  std::string visible;
  visible.reserve(text.size());
  visible.assign(text, 0, hider);
  size_t copied = hider;
  for (; hider < text.size(); hider = FindHider(text, hider)) {
    const size_t invisible = InvisibleAt(text, hider);
    if (invisible == 0) {
      ++hider;
      continue;
    }
    visible.append(text, copied, hider - copied);
    hider += invisible;
    copied = hider;
  }
  visible.append(text, copied, std::string_view::npos);
  return Find(visible, 0).begin < visible.size();
}

void Scrubber::Scrub(std::string& text) const {
  if (!Finds(text)) return;
  const Folded folded(text);
  std::string clean;
  size_t copied = 0;
  for (size_t from = 0;;) {
    Match match = Find(folded.text, from);
    if (match.begin >= folded.text.size()) break;
    if (match.is_code) folded.Widen(match, from);
    clean.append(text, copied, folded.places[match.begin].begin - copied);
    clean.append(kRemoved);
    copied = folded.places[match.end - 1].end;
    from = match.end;
  }
  clean.append(text, copied, std::string::npos);
  OPENSSL_cleanse(text.data(), text.size());
  text = std::move(clean);
}

void Scrubber::Scrub(google::protobuf::Struct& object) const {
  if (patterns_.empty()) return;
  std::vector<std::string> named;
  for (auto& [name, value] : *object.mutable_fields()) {
    if (Finds(name)) named.push_back(name);
    Scrub(value);
  }
  for (const std::string& name : named) {
    std::string clean = name;
    Scrub(clean);
    (*object.mutable_fields())[clean] = std::move((*object.mutable_fields())[name]);
    object.mutable_fields()->erase(name);
  }
}

void Scrubber::Scrub(google::protobuf::Value& value) const {
  switch (value.kind_case()) {
    case google::protobuf::Value::kStringValue:
      return Scrub(*value.mutable_string_value());
    case google::protobuf::Value::kStructValue:
      return Scrub(*value.mutable_struct_value());
    case google::protobuf::Value::kListValue:
      for (google::protobuf::Value& item : *value.mutable_list_value()->mutable_values())
        Scrub(item);
      return;
    default:
      return;
  }
}

}  // namespace finetune
