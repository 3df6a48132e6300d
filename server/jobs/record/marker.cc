#include "server/jobs/record/marker.h"

#include "absl/random/random.h"
#include "server/base/sha256.h"

namespace finetune {
namespace {

// Without i, l, o and u, which people misread. The check characters come from the same set.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::string_view kPrefix = "fg";
constexpr size_t kRandom = 9;
constexpr size_t kCheck = 2;
constexpr size_t kLength = kPrefix.size() + kRandom + kCheck;

std::string CheckOf(std::string_view random) {
  const std::string digest = Sha256Of(random);
  const auto character = [&](size_t i) {
    return kAlphabet[static_cast<unsigned char>(digest[i]) % kAlphabet.size()];
  };
  return {character(0), character(1)};
}

}  // namespace

std::string MakeMarker() {
  absl::BitGen bits;
  std::string random;
  for (size_t i = 0; i < kRandom; ++i) {
    random.push_back(kAlphabet[absl::Uniform<size_t>(bits, 0, kAlphabet.size())]);
  }
  return std::string(kPrefix) + random + CheckOf(random);
}

bool IsMarker(std::string_view text) {
  if (text.size() != kLength || text.substr(0, kPrefix.size()) != kPrefix) return false;
  if (text.find_first_not_of(kAlphabet, kPrefix.size()) != text.npos) return false;
  return text.substr(kLength - kCheck) == CheckOf(text.substr(kPrefix.size(), kRandom));
}

std::string AddMarker(std::string_view display_name, std::string_view marker) {
  std::string name(display_name);
  if (!marker.empty()) name.append("-").append(marker);
  return name;
}

MarkedName StripMarker(std::string_view upstream_name) {
  MarkedName result{.display_name = std::string(upstream_name), .marker = ""};
  if (upstream_name.size() <= kLength) return result;
  const size_t dash = upstream_name.size() - kLength - 1;
  const std::string_view marker = upstream_name.substr(dash + 1);
  if (upstream_name[dash] != '-' || !IsMarker(marker)) return result;
  result.display_name.resize(dash);
  result.marker = marker;
  return result;
}

}  // namespace finetune
