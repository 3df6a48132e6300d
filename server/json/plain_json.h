#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace finetune {

// Reads JSON that has nothing unusual in it, several times as fast as a parser that must be ready
// for everything. Only success means something: escapes, control characters, exponents, long
// numbers, deep nesting, and text that is not JSON are left to RapidJSON. Like RapidJSON here, it
// does not check encodings. The handler is as RapidJSON's; its strings are parts of the text. Not
// thread-safe.
template <typename Handler>
class PlainJson {
 public:
  // True if all of `text` is one value and `handler` got all of it. False says nothing about the
  // text: the handler got some of it, or refused some.
  static bool Read(std::string_view text, Handler& handler) {
    PlainJson reader(text, handler);
    reader.SkipSpace();
    if (!reader.Value(0)) return false;
    reader.SkipSpace();
    return reader.at_ == reader.end_;
  }

 private:
  using Size = unsigned;

  static constexpr int kMaxDepth = 32;
  // Exact in a double, like the powers of ten up to kMaxFraction: so is what comes of a division.
  static constexpr int kMaxDigits = 15;
  static constexpr int kMaxFraction = 22;
  static constexpr double kPowers[kMaxFraction + 1] = {
      1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

  PlainJson(std::string_view text, Handler& handler)
      : at_(text.data()), end_(text.data() + text.size()), handler_(handler) {}

  // What is next; NUL, which is never part of JSON, at the end.
  char Peek() const { return at_ == end_ ? '\0' : *at_; }
  bool Take(char c) {
    if (Peek() != c) return false;
    ++at_;
    return true;
  }
  bool Take(std::string_view word) {
    if (!std::string_view(at_, end_ - at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void SkipSpace() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  bool Value(int depth) {
    switch (Peek()) {
      case '"': {
        std::string_view text;
        return String(text) && handler_.String(text.data(), static_cast<Size>(text.size()), false);
      }
      case '{':
        return depth < kMaxDepth && Object(depth);
      case '[':
        return depth < kMaxDepth && Array(depth);
      case 'n':
        return Take("null") && handler_.Null();
      case 't':
        return Take("true") && handler_.Bool(true);
      case 'f':
        return Take("false") && handler_.Bool(false);
      default:
        return Number();
    }
  }

  bool Object(int depth) {
    ++at_;
    if (!handler_.StartObject()) return false;
    SkipSpace();
    if (Take('}')) return handler_.EndObject(0);
    for (Size members = 1;; ++members) {
      std::string_view name;
      if (Peek() != '"' || !String(name) ||
          !handler_.Key(name.data(), static_cast<Size>(name.size()), false))
        return false;
      SkipSpace();
      if (!Take(':')) return false;
      SkipSpace();
      if (!Value(depth + 1)) return false;
      SkipSpace();
      if (Take('}')) return handler_.EndObject(members);
      if (!Take(',')) return false;
      SkipSpace();
    }
  }

  bool Array(int depth) {
    ++at_;
    if (!handler_.StartArray()) return false;
    SkipSpace();
    if (Take(']')) return handler_.EndArray(0);
    for (Size items = 1;; ++items) {
      if (!Value(depth + 1)) return false;
      SkipSpace();
      if (Take(']')) return handler_.EndArray(items);
      if (!Take(',')) return false;
      SkipSpace();
    }
  }

  // What stands between the quotes, the first of which is next.
  bool String(std::string_view& text) {
    const char* const begin = ++at_;
#if defined(__SSE2__)
    for (; end_ - at_ >= 16; at_ += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at_));
      const __m128i last_control = _mm_set1_epi8(0x1f);
      const __m128i stops =
          _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))),
                       _mm_cmpeq_epi8(_mm_max_epu8(bytes, last_control), last_control));
      const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(stops));
      if (mask == 0) continue;
      at_ += std::countr_zero(mask);
      break;
    }
#endif
    while (at_ != end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) > 0x1f)
      ++at_;
    text = {begin, static_cast<size_t>(at_ - begin)};
    return Take('"');
  }

  // Adds the digits that are next to `number`; false if there are none.
  bool Digits(uint64_t& number) {
    const char* const begin = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9' && at_ - begin <= kMaxDigits)
      number = number * 10 + static_cast<uint64_t>(*at_++ - '0');
    return at_ != begin;
  }

  bool Number() {
    const bool minus = Take('-');
    const char* const begin = at_;
    uint64_t number = 0;
    if (!Digits(number)) return false;
    // `00` is no number.
    if (*begin == '0' && at_ - begin > 1) return false;
    auto digits = at_ - begin;
    ptrdiff_t fraction = 0;
    if (Take('.')) {
      const char* const point = at_;
      if (!Digits(number)) return false;
      fraction = at_ - point;
      digits += fraction;
    }
    if (digits > kMaxDigits || fraction > kMaxFraction || Peek() == 'e' || Peek() == 'E')
      return false;
    if (fraction > 0) {
      const double value = static_cast<double>(number) / kPowers[fraction];
      return handler_.Double(minus ? -value : value);
    }
    return minus ? handler_.Int64(-static_cast<int64_t>(number)) : handler_.Uint64(number);
  }

  const char* at_;
  const char* const end_;
  Handler& handler_;
};

}  // namespace finetune
