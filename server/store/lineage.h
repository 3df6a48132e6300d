#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace finetune {

// A stretch of the record's history within which nothing can have been lost unnoticed. Every start
// on a file begins one: the file may be an older copy that was restored.
struct Era {
  uint64_t id = 0;  // Random, never 0.
  // Where the record was at the era's beginning.
  uint64_t base_revision = 0;
  uint64_t base_seq = 0;
  absl::Time began;
  std::string why;
};

// A new era's id.
uint64_t MakeEraId();

// The history of a record as eras. A point in it is an era with the count of changes (revision) or
// of commits (seq) at that moment.
//
// Numbers alone do not name a moment: after an older copy is restored they are given out a second
// time. A point belongs to this history if its era does and the next era began at or after it. What
// an era had beyond the beginning of its successor was lost. A value; thread-safe while const.
class Lineage {
 public:
  // The era assumed for tokens of the first format, which name none.
  static constexpr uint64_t kFirstEra = 0;

  Lineage() = default;
  // Oldest first.
  explicit Lineage(std::vector<Era> eras);

  // `latest` is the record's revision, or seq, now.
  bool HasRevision(uint64_t era, uint64_t revision, uint64_t latest) const;
  bool HasSeq(uint64_t era, uint64_t seq, uint64_t latest) const;

  bool Knows(uint64_t era) const { return Find(era) != nullptr; }
  // 0 if there is none yet.
  uint64_t current() const { return eras_.empty() ? 0 : eras_.back().id; }
  const std::vector<Era>& eras() const { return eras_; }

 private:
  const Era* Find(uint64_t id) const;
  const Era* After(const Era& era) const;

  std::vector<Era> eras_;
  absl::flat_hash_map<uint64_t, size_t> index_;
};

}  // namespace finetune
