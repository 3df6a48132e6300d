#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/store/store.h"

namespace finetune {

// A store's ledger in memory, of the plainest kind. Not thread-safe.
class MemoryLedger {
 public:
  // What a batch does to it.
  struct Part {
    std::vector<std::pair<TotalKey, int64_t>> new_totals;
    SpendingRows spending;
  };
  static Part PartOf(const StoreBatch& batch) { return {batch.new_totals, batch.spending}; }

  void Apply(const Part& part) {
    for (const auto& [key, amount] : part.new_totals) totals_[key] = amount;
    for (const auto& [key, count] : part.spending) {
      if ((rows_[key] += count).empty()) rows_.erase(key);
    }
    for (auto& [total, amount] : totals_) amount += AmountIn(total, part.spending);
  }
  std::vector<std::optional<int64_t>> FindTotals(const std::vector<TotalKey>& keys) const {
    std::vector<std::optional<int64_t>> found;
    for (const TotalKey& key : keys) {
      const auto it = totals_.find(key);
      found.push_back(it == totals_.end() ? std::nullopt : std::optional(it->second));
    }
    return found;
  }
  SpendingRows Read(const Store::SpendingQuery& query) const {
    SpendingRows read;
    for (const auto& [key, count] : rows_) {
      if (key.quarter < query.start || key.quarter >= query.end) continue;
      if ((query.caller && key.caller != *query.caller) || (query.after && key <= *query.after))
        continue;
      if (static_cast<int64_t>(read.size()) < query.limit) read[key] = count;
    }
    return read;
  }

  const std::map<TotalKey, int64_t>& totals() const { return totals_; }

 private:
  SpendingRows rows_;
  std::map<TotalKey, int64_t> totals_;
};

}  // namespace finetune
