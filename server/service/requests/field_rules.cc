#include "server/service/requests/field_rules.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/url.h"
#include "server/base/url_signature.h"

namespace finetune {
namespace {

bool IsAlnum(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }

// Letters, digits, `-`, `_` and `.`; it begins and ends with a letter or digit.
bool IsLabelWord(absl::string_view text) {
  return !text.empty() && text.size() <= 63 && IsAlnum(text.front()) && IsAlnum(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return IsAlnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool IsDnsSubdomain(absl::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  for (absl::string_view part : absl::StrSplit(text, '.')) {
    if (part.empty() || part.size() > 63 || part.front() == '-' || part.back() == '-') return false;
    for (char c : part)
      if (!absl::ascii_islower(static_cast<unsigned char>(c)) &&
          !absl::ascii_isdigit(static_cast<unsigned char>(c)) && c != '-')
        return false;
  }
  return true;
}

}  // namespace

std::string WrongWithLabelKey(std::string_view key) {
  absl::string_view name(key.data(), key.size());
  if (const size_t slash = name.find('/'); slash != name.npos) {
    if (!IsDnsSubdomain(name.substr(0, slash)))
      return "the key's prefix must be a DNS name in lower case";
    name.remove_prefix(slash + 1);
  }
  if (!IsLabelWord(name))
    return "a key is 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at both "
           "ends";
  return "";
}

std::string WrongWithLabelValue(std::string_view value) {
  if (value.empty() || IsLabelWord({value.data(), value.size()})) return "";
  return "a value is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both "
         "ends";
}

std::string WrongWithUrl(std::string_view text) {
  // The part that signs a URL may be long, and is not kept.
  constexpr size_t kMost = 2048, kMostSigned = 8192;
  if (text.size() > kMostSigned) return absl::StrCat("must have at most ", kMostSigned, " bytes");
  const auto url = Url::Parse(text);
  if (!url.ok()) return std::string(url.status().message());
  if (WithoutSignatures(text).size() > kMost)
    return absl::StrCat("must have at most ", kMost, " bytes beside its signature");
  return "";
}

std::string WrongWithText(std::string_view text, size_t most, bool lines) {
  size_t characters = 0;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool allowed_control = lines && (c == '\n' || c == '\t' || c == '\r');
    if ((byte < ' ' || byte == 0x7f) && !allowed_control) return "must not hold control characters";
    if (byte >> 6 != 2) ++characters;
  }
  if (characters > most) return absl::StrCat("must have at most ", most, " characters");
  return "";
}

std::string WrongWithFileName(std::string_view file_name) {
  const absl::string_view name(file_name.data(), file_name.size());
  constexpr absl::string_view kSuffix = ".zip";
  if (name.size() <= kSuffix.size() || !absl::EndsWithIgnoreCase(name, kSuffix))
    return "must be a file name ending in .zip";
  if (absl::StrContains(name, "/") || absl::StrContains(name, "\\") || absl::StartsWith(name, "."))
    return "must be a file name without a path";
  return WrongWithText(file_name, 128);
}

std::string WrongWithWord(std::string_view word, bool upper) {
  for (char c : word) {
    const bool good =
        absl::ascii_isupper(static_cast<unsigned char>(c)) ||
        absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '_' ||
        (!upper && (absl::ascii_islower(static_cast<unsigned char>(c)) || c == '-' || c == ' '));
    if (!good)
      return upper ? "must be capital letters, digits and '_'"
                   : "must be letters, digits, '-', '_' and spaces";
  }
  if (word.size() > 64) return "must have at most 64 characters";
  return "";
}

}  // namespace finetune
