#include "server/base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace finetune {
namespace {

// Castagnoli's polynomial, bits reversed.
constexpr uint32_t kPolynomial = 0x82f63b78;

// What each of a word's eight bytes contributes, by its position.
constexpr auto kTables = [] {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t place = 1; place < 8; ++place)
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t crc = tables[place - 1][byte];
      tables[place][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
    }
  return tables;
}();

uint64_t WordAt(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

uint32_t ByTable(uint32_t crc, const char* at, size_t size) {
  const auto byte = [](char c) { return static_cast<unsigned char>(c); };
  for (; size >= 8; at += 8, size -= 8) {
    uint32_t next = 0;
    for (int i = 0; i < 8; ++i) {
      const uint32_t mixed = i < 4 ? (crc >> (8 * i) & 0xff) ^ byte(at[i]) : byte(at[i]);
      next ^= kTables[7 - i][mixed];
    }
    crc = next;
  }
  for (; size > 0; ++at, --size) crc = (crc >> 8) ^ kTables[0][(crc ^ byte(*at)) & 0xff];
  return crc;
}

#if defined(__x86_64__)

#define FINETUNE_CRC32C_TARGET __attribute__((target("sse4.2")))

bool HasInstructions() { return __builtin_cpu_supports("sse4.2"); }

FINETUNE_CRC32C_TARGET inline uint32_t AddWord(uint32_t crc, uint64_t word) {
  return static_cast<uint32_t>(_mm_crc32_u64(crc, word));
}
FINETUNE_CRC32C_TARGET inline uint32_t AddByte(uint32_t crc, unsigned char byte) {
  return _mm_crc32_u8(crc, byte);
}

#elif defined(__aarch64__) && defined(__linux__)

#define FINETUNE_CRC32C_TARGET __attribute__((target("crc")))

bool HasInstructions() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }

FINETUNE_CRC32C_TARGET inline uint32_t AddWord(uint32_t crc, uint64_t word) {
  return __crc32cd(crc, word);
}
FINETUNE_CRC32C_TARGET inline uint32_t AddByte(uint32_t crc, unsigned char byte) {
  return __crc32cb(crc, byte);
}

#endif

#ifdef FINETUNE_CRC32C_TARGET

// The instruction has a latency of three cycles and a throughput of one per cycle, so three parts
// of a block are computed side by side and then joined.
constexpr size_t kPart = 4096;

// What kPart zeros after it make of a CRC, as a matrix of 32 columns.
constexpr auto kShift = [] {
  std::array<uint32_t, 32> shift{};
  for (int bit = 0; bit < 32; ++bit) {
    uint32_t crc = uint32_t{1} << bit;
    for (size_t i = 0; i < 8 * 4; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    shift[static_cast<size_t>(bit)] = crc;  // By four zeros, so far.
  }
  // Doubled until the matrix stands for kPart zeros.
  for (size_t zeros = 4; zeros < kPart; zeros *= 2) {
    std::array<uint32_t, 32> twice{};
    for (size_t bit = 0; bit < 32; ++bit)
      for (size_t k = 0; k < 32; ++k)
        if ((shift[bit] >> k & 1) != 0) twice[bit] ^= shift[k];
    shift = twice;
  }
  return shift;
}();

uint32_t Shifted(uint32_t crc) {
  uint32_t shifted = 0;
  for (size_t bit = 0; bit < 32; ++bit) shifted ^= kShift[bit] & (0 - (crc >> bit & 1));
  return shifted;
}

FINETUNE_CRC32C_TARGET uint32_t ByInstructions(uint32_t crc, const char* at, size_t size) {
  for (; size >= 3 * kPart; at += 3 * kPart, size -= 3 * kPart) {
    uint32_t second = 0, third = 0;
    for (size_t i = 0; i < kPart; i += 8) {
      crc = AddWord(crc, WordAt(at + i));
      second = AddWord(second, WordAt(at + kPart + i));
      third = AddWord(third, WordAt(at + 2 * kPart + i));
    }
    crc = Shifted(Shifted(crc) ^ second) ^ third;
  }
  for (; size >= 8; at += 8, size -= 8) crc = AddWord(crc, WordAt(at));
  for (; size > 0; ++at, --size) crc = AddByte(crc, static_cast<unsigned char>(*at));
  return crc;
}

#endif

}  // namespace

uint32_t ExtendCrc32c(uint32_t crc, std::string_view bytes) {
#ifdef FINETUNE_CRC32C_TARGET
  static const bool has_instructions = HasInstructions();
  if (has_instructions) return ~ByInstructions(~crc, bytes.data(), bytes.size());
#endif
  return ExtendCrc32cPlainly(crc, bytes);
}

uint32_t ExtendCrc32cPlainly(uint32_t crc, std::string_view bytes) {
  return ~ByTable(~crc, bytes.data(), bytes.size());
}

}  // namespace finetune
