#pragma once

// Ends the process with the place and the condition: for bugs of our own, which no input may reach.
#define CHECK(condition) \
  ((condition) ? (void)0 : ::finetune::CheckFailed(#condition, __FILE__, __LINE__))

namespace finetune {

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace finetune
