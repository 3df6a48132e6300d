#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune {

// Where a list goes on: after this place in its order, for one query. The token carries a checksum
// keyed with the history's epoch: it survives restarts, and one that is damaged, of another history
// or of another query is refused. It protects nothing: whoever knows the epoch can make one, and
// reads nothing by it that a list would not show. `query` says what must stay the same from page to
// page.
std::string EncodePageToken(std::string_view epoch, std::string_view query, std::string_view place);

// The place. INVALID_ARGUMENT / PAGE_TOKEN_INVALID.
absl::StatusOr<std::string> DecodePageToken(std::string_view epoch, std::string_view query,
                                            std::string_view token);

}  // namespace finetune
