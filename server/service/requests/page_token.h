#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune {

// Where a list continues: after this place in its order, for one query. The token carries a
// checksum keyed with the history's epoch, so that it survives restarts and is refused if it is
// damaged or belongs to another history or query. It is no protection: somebody who knows the epoch
// can make one, and reads nothing with it that a list would not show. `query` is what must stay the
// same from page to page.
std::string EncodePageToken(std::string_view epoch, std::string_view query, std::string_view place);

// The place. INVALID_ARGUMENT / PAGE_TOKEN_INVALID.
absl::StatusOr<std::string> DecodePageToken(std::string_view epoch, std::string_view query,
                                            std::string_view token);

}  // namespace finetune
