#pragma once

#include <cstdint>
#include <string_view>

namespace finetune {

// CRC-32C (Castagnoli), as in DownloadWeightsResponse.crc32c, computed by the processor's own
// instructions where it has them (some GB a second). `crc` is that of the bytes before; 0 at the
// start.
uint32_t ExtendCrc32c(uint32_t crc, std::string_view bytes);

inline uint32_t Crc32c(std::string_view bytes) { return ExtendCrc32c(0, bytes); }

// The same without those instructions: for processors that lack them, and to compare with.
uint32_t ExtendCrc32cPlainly(uint32_t crc, std::string_view bytes);

}  // namespace finetune
