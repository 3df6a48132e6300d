#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/jobs/record/draft.h"
#include "server/jobs/record/intent_table.h"

namespace finetune {

// The intents of one commit: two layers over the store, one for the mutations that have succeeded
// and one for the mutation that is running. Knows what they cost their callers. Recorder's thread
// only; the references outlive it.
class DraftIntents {
 public:
  DraftIntents(Store& store, const IntentTable& unsettled, absl::Time now)
      : store_(store), unsettled_(unsettled), now_(now) {}

  // As in Draft.
  absl::StatusOr<std::optional<record::Intent>> Find(const IntentKey& key);
  std::optional<record::Intent> FindByMarker(std::string_view marker) const;
  std::vector<record::Intent> Unsettled() const;
  void Put(record::Intent intent);
  void Refuse(const IntentKey& key);

  // This caller's submissions within kSpendingWindow.
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller);
  // Its unsettled submissions whose job is not visible.
  int64_t CountHidden(const std::string& caller,
                      absl::FunctionRef<bool(const std::string& id)> is_visible) const;

  // What the mutation that runs has put, and what those before it in this commit have; null if
  // nothing.
  const absl::btree_map<IntentKey, record::Intent>& own() const { return own_; }
  const record::Intent* FindDone(const IntentKey& key) const {
    const auto it = done_.find(key);
    return it == done_.end() ? nullptr : &it->second;
  }

  // Ends the mutation that ran: what it put joins the commit, or is forgotten.
  void EndMutation(bool keep);

  bool empty() const { return done_.empty(); }
  // How often mutations that went well have put one.
  size_t puts() const { return puts_; }
  // What is to be written.
  std::vector<record::Intent> All() const;

 private:
  using Layer = absl::btree_map<IntentKey, record::Intent>;

  // In the layers; null if they say nothing of it.
  const record::Intent* FindLayered(const IntentKey& key) const;
  absl::StatusOr<bool> CountsInStore(const IntentKey& key);
  bool Counts(const record::Intent& intent) const;

  Store& store_;
  const IntentTable& unsettled_;
  const absl::Time now_;

  Layer own_;   // The mutation that runs.
  Layer done_;  // The mutations that went well.
  size_t puts_ = 0;

  // What the store said; it does not change while the commit is made.
  absl::flat_hash_map<std::string, CreateCount> stored_creates_;
  absl::btree_map<IntentKey, bool> counts_in_store_;
};

}  // namespace finetune
