#include "server/store/lineage.h"

#include <utility>

#include "absl/random/random.h"

namespace finetune {

uint64_t MakeEraId() {
  absl::BitGen random;
  // Not negative as an SQL integer.
  return absl::Uniform<uint64_t>(absl::IntervalClosed, random, 1, INT64_MAX);
}

Lineage::Lineage(std::vector<Era> eras) : eras_(std::move(eras)) {
  for (size_t i = 0; i < eras_.size(); ++i) index_[eras_[i].id] = i;
}

const Era* Lineage::Find(uint64_t id) const {
  if (id == kFirstEra) {
    // Null once it was forgotten: later eras do not stand in for it.
    return !eras_.empty() && eras_.front().base_revision == 0 ? &eras_.front() : nullptr;
  }
  auto it = index_.find(id);
  return it == index_.end() ? nullptr : &eras_[it->second];
}

const Era* Lineage::After(const Era& era) const {
  const Era* next = &era + 1;
  return next == eras_.data() + eras_.size() ? nullptr : next;
}

bool Lineage::HasRevision(uint64_t id, uint64_t revision, uint64_t latest) const {
  const Era* era = Find(id);
  if (era == nullptr) return false;
  const Era* next = After(*era);
  return revision <= (next == nullptr ? latest : next->base_revision);
}

bool Lineage::HasSeq(uint64_t id, uint64_t seq, uint64_t latest) const {
  const Era* era = Find(id);
  if (era == nullptr) return false;
  const Era* next = After(*era);
  return seq <= (next == nullptr ? latest : next->base_seq);
}

}  // namespace finetune
