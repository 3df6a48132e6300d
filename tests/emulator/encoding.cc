#include "tests/emulator/encoding.h"

#include <zlib.h>

#include <algorithm>

namespace finetune::emulator {
namespace {

constexpr int kGzip = 15 + 16;
constexpr int kZlib = 15;
constexpr int kRaw = -15;
constexpr size_t kBlock = 1 << 20;

// Deflates `body`; `flush` ends it (Z_FINISH) or lets more follow (Z_FULL_FLUSH).
std::string Deflated(std::string_view body, int window_bits, int flush) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, body.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = body.size();
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = out.size();
  deflate(&stream, flush);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

uint32_t CrcOf(std::string_view text) {
  return crc32(0, reinterpret_cast<const Bytef*>(text.data()), text.size());
}

void AppendWord(uint32_t word, std::string* out) {
  for (int i = 0; i < 4; ++i) *out += static_cast<char>(word >> (8 * i));
}

}  // namespace

std::string Encoded(std::string_view body, std::string_view coding) {
  if (coding == "gzip" || coding == "x-gzip") return Deflated(body, kGzip, Z_FINISH);
  if (coding == "deflate") return Deflated(body, kZlib, Z_FINISH);
  return std::string(body);
}

std::string GzipBomb(std::string_view body, uint64_t spaces) {
  // Blocks that end in a full flush know nothing of each other, so that one serves again and again.
  const std::string block(kBlock, ' ');
  const std::string packed = Deflated(block, kRaw, Z_FULL_FLUSH);
  const uint32_t block_crc = CrcOf(block);
  std::string out("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10);
  out += Deflated(body, kRaw, Z_FULL_FLUSH);
  uint32_t crc = CrcOf(body);
  uint64_t left = spaces;
  for (; left >= kBlock; left -= kBlock) {
    out += packed;
    crc = crc32_combine(crc, block_crc, kBlock);
  }
  const std::string rest(left, ' ');
  out += Deflated(rest, kRaw, Z_FINISH);
  crc = crc32_combine(crc, CrcOf(rest), static_cast<z_off_t>(rest.size()));
  AppendWord(crc, &out);
  AppendWord(static_cast<uint32_t>(body.size() + spaces), &out);
  return out;
}

}  // namespace finetune::emulator
