#include "server/json/list_scanner.h"

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace finetune {
namespace {

constexpr size_t kBlock = 64;

// One bit for each byte of a block.
struct Marks {
  uint64_t quotes = 0;
  uint64_t backslashes = 0;
  uint64_t opens = 0;   // { and [
  uint64_t closes = 0;  // } and ]
};

#if defined(__SSE2__)
Marks MarksOf(const char* block) {
  Marks marks;
  for (int i = 0; i < 4; ++i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block) + i);
    const auto where = [&](__m128i in, char c) {
      const int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(in, _mm_set1_epi8(c)));
      return static_cast<uint64_t>(static_cast<uint32_t>(mask)) << (16 * i);
    };
    // Square brackets and braces differ in this bit alone.
    const __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    marks.quotes |= where(bytes, '"');
    marks.backslashes |= where(bytes, '\\');
    marks.opens |= where(folded, '{');
    marks.closes |= where(folded, '}');
  }
  return marks;
}
#else
Marks MarksOf(const char* block) {
  Marks marks;
  for (size_t i = 0; i < kBlock; ++i) {
    const uint64_t bit = uint64_t{1} << i;
    const char folded = static_cast<char>(block[i] | 0x20);
    if (block[i] == '"') marks.quotes |= bit;
    if (block[i] == '\\') marks.backslashes |= bit;
    if (folded == '{') marks.opens |= bit;
    if (folded == '}') marks.closes |= bit;
  }
  return marks;
}
#endif

// Each bit is the parity of the bits up to it.
uint64_t PrefixXor(uint64_t bits) {
  for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
  return bits;
}

// What carries over from one block to the next.
struct StringState {
  bool escape = false;     // The last byte was a backslash that escapes.
  uint64_t in_string = 0;  // All ones if the last byte was within a string.
};

// Drops brackets that are within strings.
void DropStrings(Marks& marks, StringState& state) {
  uint64_t escaped = state.escape ? 1 : 0;
  state.escape = false;
  uint64_t left = marks.backslashes & ~escaped;
  while (left != 0) {
    const uint64_t backslash = left & -left;
    const uint64_t next = backslash << 1;
    state.escape = next == 0;
    escaped |= next;
    left &= ~(backslash | next);
  }
  const uint64_t inside = PrefixXor(marks.quotes & ~escaped) ^ state.in_string;
  state.in_string = static_cast<uint64_t>(static_cast<int64_t>(inside) >> 63);
  marks.opens &= ~inside;
  marks.closes &= ~inside;
}

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// The position after the string whose opening quote is `text[0]`.
std::optional<size_t> ScanString(std::string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return std::nullopt;
}

// Checks what lies between an array's bracketed items: commas, and items without brackets.
class Separators {
 public:
  explicit Separators(absl::FunctionRef<void(std::string_view)> item) : item_(item) {}

  // False if `gap` cannot be there.
  bool Take(std::string_view gap) {
    while (!(gap = SkipSpace(gap)).empty()) {
      size_t used = 1;
      if (gap[0] == ',') {
        if (!after_item_) return false;
        after_item_ = false;
        after_comma_ = true;
      } else {
        const std::optional<size_t> end = ScanValue(gap);
        if (!end || !BeginItem()) return false;
        used = *end;
        item_(gap.substr(0, used));
      }
      gap.remove_prefix(used);
    }
    return true;
  }
  bool BeginItem() {
    if (after_item_) return false;
    after_item_ = true;
    after_comma_ = false;
    return true;
  }
  bool MayEnd() const { return !after_comma_; }

 private:
  const absl::FunctionRef<void(std::string_view)> item_;
  bool after_item_ = false;
  bool after_comma_ = false;
};

}  // namespace

std::string_view SkipSpace(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  return text;
}

std::optional<size_t> ScanBrackets(std::string_view text,
                                   absl::FunctionRef<void(size_t, size_t)> child) {
  StringState state;
  int64_t depth = 0;
  size_t child_begin = 0;
  char tail[kBlock];
  for (size_t base = 0; base < text.size(); base += kBlock) {
    const char* block = text.data() + base;
    if (text.size() - base < kBlock) {
      std::memset(tail, ' ', kBlock);
      std::memcpy(tail, block, text.size() - base);
      block = tail;
    }
    Marks marks = MarksOf(block);
    DropStrings(marks, state);
    const int closes = std::popcount(marks.closes);
    // Deep within a child, nothing that begins or ends is of interest.
    if (depth - closes >= 2) {
      depth += std::popcount(marks.opens) - closes;
      continue;
    }
    for (uint64_t left = marks.opens | marks.closes; left != 0; left &= left - 1) {
      const size_t at = base + std::countr_zero(left);
      if (marks.opens & left & -left) {
        if (++depth == 2) child_begin = at;
      } else if (--depth == 1) {
        child(child_begin, at + 1);
      } else if (depth == 0) {
        return at + 1;
      }
    }
  }
  return std::nullopt;
}

std::optional<size_t> ScanArray(std::string_view text,
                                absl::FunctionRef<void(std::string_view)> item) {
  Separators separators(item);
  size_t gap_begin = 1;
  bool good = true;
  const std::optional<size_t> end = ScanBrackets(text, [&](size_t begin, size_t end) {
    if (!good) return;
    good = separators.Take(text.substr(gap_begin, begin - gap_begin)) && separators.BeginItem();
    gap_begin = end;
    if (good) item(text.substr(begin, end - begin));
  });
  // The last bracket may be of the other kind.
  if (!good || !end || text[*end - 1] != ']') return std::nullopt;
  if (!separators.Take(text.substr(gap_begin, *end - 1 - gap_begin)) || !separators.MayEnd())
    return std::nullopt;
  return end;
}

std::optional<size_t> ScanValue(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (text[0] == '"') return ScanString(text);
  if (text[0] == '{' || text[0] == '[') return ScanBrackets(text, [](size_t, size_t) {});
  size_t end = 0;
  while (end < text.size() && !IsSpace(text[end]) && text[end] != ',' && text[end] != '}' &&
         text[end] != ']')
    ++end;
  if (end == 0) return std::nullopt;
  return end;
}

}  // namespace finetune
