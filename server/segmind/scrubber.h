#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/struct.pb.h"
#include "server/base/secret.h"

namespace finetune {

// Removes the API key from texts that Segmind sent, which may repeat it: as it is, in base64 at any
// alignment, in hexadecimal, percent-encoded, or with white space in it. All text from Segmind that
// is kept or shown passes through one of these on arrival. Immutable; thread-safe.
class Scrubber {
 public:
  // Finds nothing.
  Scrubber() = default;
  explicit Scrubber(const Secret& key);
  ~Scrubber();
  Scrubber(const Scrubber&) = default;
  Scrubber& operator=(const Scrubber&) = default;

  // Costs a few steps where there is nothing to find.
  bool Finds(std::string_view text) const;
  // Puts `[removed]` in the key's place.
  void Scrub(std::string& text) const;
  // All texts and names in it.
  void Scrub(google::protobuf::Struct& object) const;

 private:
  // A text without what may hide a key in it, and where each byte of it stood.
  struct Folded;
  struct Place {
    size_t begin = 0;
    size_t end = 0;
  };
  struct Match {
    size_t begin = 0;
    size_t end = 0;
    bool is_code = false;  // Rather than the key itself.
  };

  void AddPattern(std::string pattern);
  Match Find(std::string_view text, size_t from) const;
  void Scrub(google::protobuf::Value& value) const;

  static constexpr size_t kShifts = 4096;
  static size_t ShiftIndex(const char* block) {
    const auto first = static_cast<unsigned char>(block[0]);
    const auto second = static_cast<unsigned char>(block[1]);
    return (first * 61u + second) % kShifts;
  }

  // Constant after construction.
  std::vector<std::string> patterns_;
  size_t shortest_ = 0;
  // How far a search may go on from a window that ends with these two bytes.
  std::array<uint8_t, kShifts> shifts_ = {};
};

}  // namespace finetune
