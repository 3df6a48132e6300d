#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune {

// Where a URL leads.
struct UrlTarget {
  bool secure = false;  // https.
  std::string host;     // In lower case; IPv6 without brackets.
  int port = 0;
};

// INVALID_ARGUMENT, without showing it, for what is no plain http or https URL. Anything that
// parsers are known to disagree about (backslashes, spaces, credentials, odd numbers) is refused.
absl::StatusOr<UrlTarget> ParseTarget(std::string_view url);

// Whether a host's name may hold it.
bool IsHostCharacter(char c);

}  // namespace finetune
