#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "server/store/store.h"

namespace finetune {

// A store that passes everything on to another: for those that differ in a point or two.
class PassingStore : public Store {
 public:
  explicit PassingStore(std::unique_ptr<Store> under) : under_(std::move(under)) {}

  std::string_view system() const override { return under_->system(); }
  absl::StatusOr<StoreState> Load() override { return under_->Load(); }
  absl::StatusOr<StoreNews> Begin(const StorePoint& known, const TurnNeeds& needs) override {
    return under_->Begin(known, needs);
  }
  CommitOutcome Commit(const StoreBatch& batch) override { return under_->Commit(batch); }
  void Abandon() override { under_->Abandon(); }
  absl::StatusOr<bool> Settle() override { return under_->Settle(); }
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& id) override {
    return under_->FindIntent(caller, id);
  }
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) override {
    return under_->CountCreates(caller, since);
  }
  absl::StatusOr<std::vector<std::optional<int64_t>>> FindTotals(
      const std::vector<TotalKey>& keys) override {
    return under_->FindTotals(keys);
  }
  absl::StatusOr<SpendingRows> ReadSpending(const SpendingQuery& query) override {
    return under_->ReadSpending(query);
  }
  absl::Status CheckWritable() override { return under_->CheckWritable(); }
  absl::StatusOr<StoreNews> Read(const StorePoint& known) override { return under_->Read(known); }
  void Follow(std::function<void()> wake) override { under_->Follow(std::move(wake)); }

 protected:
  const std::unique_ptr<Store> under_;
};

}  // namespace finetune
