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
    state.revision = revision_;
    for (const std::string& id : order_) state.records.push_back(records_[id]);
    state.changes.assign(changes_.begin(), changes_.end());
    return state;
  }

  absl::Status Commit(const Batch& batch) override {
    if (batch.base_revision != revision_) return absl::AbortedError("another revision");
    for (const StoredChange& change : batch.changes) {
      if (!records_.contains(change.fine_tune_id)) order_.push_back(change.fine_tune_id);
      records_[change.fine_tune_id] = change.after;
      revision_ = change.revision;
      changes_.push_back(change);
    }
    while (!changes_.empty() && changes_.front().revision <= batch.forget_changes_through) {
      changes_.pop_front();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string&,
                                                           const std::string&) override {
    return std::nullopt;
  }
  absl::StatusOr<CreateCount> CountCreates(const std::string&, absl::Time) override {
    return CreateCount();
  }
  absl::Status CheckWritable() override { return absl::OkStatus(); }

 private:
  const std::string epoch_;
  uint64_t revision_ = 0;
  std::vector<std::string> order_;
  std::map<std::string, std::string> records_;
  std::deque<StoredChange> changes_;
};

}  // namespace finetune
