#include "server/base/micros.h"

#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace finetune {

std::string ShowMicros(int64_t micros) {
  constexpr int64_t kUnit = 1'000'000;
  if (micros % kUnit == 0) return absl::StrCat(micros / kUnit);
  std::string text = absl::StrFormat("%s%d.%06d", micros < 0 ? "-" : "", std::abs(micros / kUnit),
                                     std::abs(micros % kUnit));
  while (text.back() == '0') text.pop_back();
  return text;
}

std::optional<int64_t> MicrosOf(double amount) {
  constexpr double kMost = 1e12;
  if (!(amount >= 0 && amount <= kMost)) return std::nullopt;
  return std::llround(amount * 1e6);
}

}  // namespace finetune
