#include "client/cli/suggestion.h"

#include <algorithm>
#include <numeric>

namespace finetune::cli {
namespace {

// How many letters must be changed, added, dropped or swapped with a neighbour.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(above, row);
  }
  return above[b.size()];
}

}  // namespace

std::string NearestTo(std::string_view word, const std::vector<std::string>& candidates) {
  std::string nearest;
  size_t least = word.size() <= 4 ? 2 : 3;
  for (const std::string& candidate : candidates) {
    // The beginning of a word is a good guess, however much is missing.
    const bool begins = word.size() >= 2 && candidate.substr(0, word.size()) == word;
    const size_t distance = begins ? 1 : Distance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace finetune::cli
