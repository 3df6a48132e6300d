#pragma once

#include <string_view>

#include "server/base/check.h"
#include "server/base/error.h"

namespace finetune {

// What a target is: takes any bytes at all, and aborts where a promise of the code under test is
// broken. Each file beside this one has its own.
void Fuzz(std::string_view input);

inline bool IsValid(std::string_view text) { return ValidUtf8(text) == text; }

// What every refusal owes whoever reads it.
inline void CheckRefusal(const absl::Status& status) {
  CHECK(!status.ok());
  CHECK(!status.message().empty());
  CHECK(IsValid({status.message().data(), status.message().size()}));
}

}  // namespace finetune
