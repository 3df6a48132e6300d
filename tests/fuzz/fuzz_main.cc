#include <cstddef>
#include <cstdint>

#include "tests/fuzz/targets.h"

// One program for each target; FINETUNE_FUZZ_TARGET says which.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  finetune::FINETUNE_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
