#pragma once

#include <string_view>

namespace finetune {

// Each takes any bytes at all, and aborts where a promise of the code under test is broken.
void FuzzList(std::string_view input);
void FuzzDetails(std::string_view input);
void FuzzWebhook(std::string_view input);
void FuzzError(std::string_view input);

}  // namespace finetune
