#include "server/jobs/record/marker.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/sha256.h"

namespace finetune {
namespace {

// Without i, l, o and u, which people misread. The check characters come from the same set.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::string_view kPrefix = "fg";
constexpr size_t kOwn = 9;
constexpr size_t kCheck = 2;
constexpr size_t kLength = kPrefix.size() + kOwn + kCheck;
// Whoever cuts names leaves at least about this much of them.
constexpr size_t kShortName = 20;
// A shorter part of a marker may be chance.
constexpr size_t kLeastPart = 6;

bool IsLetterOrDigit(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }
bool IsSeparator(char c) { return c == '-' || c == '_' || c == ' '; }

std::string CharactersOf(std::string_view digest, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i)
    text.push_back(kAlphabet[static_cast<unsigned char>(digest[i]) % kAlphabet.size()]);
  return text;
}

std::string CheckOf(std::string_view own) { return CharactersOf(Sha256Of(own), kCheck); }

// The lengths keep the parts apart, so that no text of a caller's can produce another caller's
// marker.
std::string WithLength(std::string_view part) {
  return absl::StrCat(part.size(), ":", absl::string_view(part.data(), part.size()));
}

}  // namespace

std::string Folded(std::string_view text) {
  std::string folded;
  for (const char c : text)
    if (IsLetterOrDigit(c)) folded.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
  return folded;
}

std::string MakeMarker(std::string_view key, std::string_view caller, std::string_view request_id,
                       int attempt) {
  const std::string what = absl::StrCat(WithLength(caller), WithLength(request_id), attempt);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(what.data()), what.size(), digest, &size);
  const std::string own = CharactersOf({reinterpret_cast<const char*>(digest), size}, kOwn);
  return absl::StrCat(absl::string_view(kPrefix.data(), kPrefix.size()), own, CheckOf(own));
}

bool IsMarker(std::string_view text) {
  if (text.size() != kLength || !std::all_of(text.begin(), text.end(), IsLetterOrDigit))
    return false;
  const std::string marker = Folded(text);
  if (!marker.starts_with(kPrefix)) return false;
  if (marker.find_first_not_of(kAlphabet, kPrefix.size()) != marker.npos) return false;
  return marker.substr(kLength - kCheck) == CheckOf(marker.substr(kPrefix.size(), kOwn));
}

std::string AddMarker(std::string_view display_name, std::string_view marker) {
  if (marker.empty()) return std::string(display_name);
  const bool is_short = display_name.size() + 1 + marker.size() <= kShortName;
  std::string name(is_short ? display_name : marker);
  name += '-';
  name += is_short ? marker : display_name;
  return name;
}

MarkedName StripMarker(std::string_view upstream_name) {
  for (size_t at = 0; at + kLength <= upstream_name.size(); ++at) {
    const std::string_view text = upstream_name.substr(at, kLength);
    if (!IsMarker(text)) continue;
    size_t begin = at;
    size_t end = at + kLength;
    // The separator that was added with the marker goes with it.
    if (begin > 0 && IsSeparator(upstream_name[begin - 1])) {
      --begin;
    } else if (end < upstream_name.size() && IsSeparator(upstream_name[end])) {
      ++end;
    }
    MarkedName result{.display_name = std::string(upstream_name), .marker = Folded(text)};
    if (end - begin < upstream_name.size()) result.display_name.erase(begin, end - begin);
    return result;
  }
  return {.display_name = std::string(upstream_name), .marker = ""};
}

MarkerTrace TraceOf(std::string_view marker, std::string_view upstream_name) {
  // A caller may write another's marker into a display name. The gateway's own comes first.
  const std::string first = StripMarker(upstream_name).marker;
  if (marker.empty()) return first.empty() ? MarkerTrace::kNone : MarkerTrace::kOther;
  if (first == marker) return MarkerTrace::kWhole;
  if (!first.empty()) return MarkerTrace::kOther;
  const std::string name = Folded(upstream_name);
  if (name.find(marker) != name.npos) return MarkerTrace::kWhole;
  for (size_t part = marker.size() - 1; part >= kLeastPart; --part)
    if (name.ends_with(marker.substr(0, part))) return MarkerTrace::kPart;
  return MarkerTrace::kNone;
}

}  // namespace finetune
