#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/store/store.h"

namespace finetune {

// A store that forgets nothing as long as it lives: stands for the file across "restarts".
class WatchMemoryStore : public Store {
 public:
  explicit WatchMemoryStore(std::string epoch = "epoch-1") : epoch_(std::move(epoch)) {}

  std::string_view system() const override { return "memory"; }

  absl::StatusOr<StoreState> Load() override {
    StoreState state;
    state.epoch = epoch_;
    state.lineage = lineage_;
    state.point = point_;
    for (const std::string& id : order_) state.records.push_back(records_[id]);
    state.changes.assign(changes_.begin(), changes_.end());
    return state;
  }

  absl::StatusOr<StoreNews> Begin(const StorePoint& known, const TurnNeeds&) override {
    return StoreNews{.point = known};
  }
  CommitOutcome Commit(const StoreBatch& batch) override {
    ++point_.seq;
    for (const StoredChange& change : batch.changes) {
      if (!records_.contains(change.fine_tune_id)) order_.push_back(change.fine_tune_id);
      records_[change.fine_tune_id] = change.after;
      point_.revision = change.revision;
      changes_.push_back(change);
    }
    while (!changes_.empty() && changes_.front().revision <= batch.forget_changes_through) {
      changes_.pop_front();
    }
    return {};
  }
  void Abandon() override {}
  absl::StatusOr<bool> Settle() override { return false; }

  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string&,
                                                           const std::string&) override {
    return std::nullopt;
  }
  absl::StatusOr<CreateCount> CountCreates(const std::string&, absl::Time) override {
    return CreateCount();
  }
  absl::StatusOr<std::vector<std::optional<int64_t>>> FindTotals(
      const std::vector<TotalKey>& keys) override {
    return std::vector<std::optional<int64_t>>(keys.size(), 0);
  }
  absl::StatusOr<SpendingRows> ReadSpending(const SpendingQuery&) override {
    return SpendingRows();
  }
  absl::Status CheckWritable() override { return absl::OkStatus(); }
  absl::StatusOr<StoreNews> Read(const StorePoint& known) override {
    return StoreNews{.point = known};
  }
  void Follow(std::function<void()>) override {}

 private:
  const std::string epoch_;
  const Lineage lineage_{{Era{.id = 7}}};
  StorePoint point_{.era = 7};
  std::vector<std::string> order_;
  std::map<std::string, std::string> records_;
  std::deque<StoredChange> changes_;
};

}  // namespace finetune
