#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/node_hash_map.h"
#include "absl/status/statusor.h"
#include "server/store/store.h"

namespace finetune {

// What one commit changes in the ledger. A submission is counted by its job once that is visible,
// and by its intent before; a forgotten job stays counted as it was last. Knows only the mutations
// that succeeded. Recorder's thread only; the store outlives it.
class DraftLedger {
 public:
  using Counted = std::optional<CountedJob>;

  explicit DraftLedger(Store& store) : store_(store) {}

  // A submission that this commit is about; a reference is good as long as the ledger.
  class Submission {
   private:
    friend class DraftLedger;
    struct Side {
      bool visible = false;
      Counted job;     // Where it is visible, and the commit changes it.
      Counted intent;  // Where it is not.
      const Counted& counted() const { return visible ? job : intent; }
    };
    Side before_;
    Side after_;
    bool job_changed_ = false;
  };

  // Null until Begin.
  Submission* Find(const std::string& fine_tune_id);
  // As it was before the commit: whether its job was visible, and how its intent counted.
  Submission& Begin(const std::string& fine_tune_id, bool visible, Counted intent);

  // How its job counts from now on, and how it did before: asked for at the first change.
  void ChangeJob(Submission& submission, const Counted& before, Counted after);
  void ChangeIntent(Submission& submission, Counted after);

  // The totals, with what this commit adds to them so far. One that was not counted yet is counted
  // from the ledger's rows, and from now on. The store may fail to answer.
  absl::StatusOr<std::vector<int64_t>> TotalsOf(const std::vector<TotalKey>& keys);

  // What is to be written.
  SpendingRows Changes() const;
  const std::map<TotalKey, int64_t>& new_totals() const { return new_totals_; }

 private:
  absl::Status LookUp(const std::vector<TotalKey>& keys);
  // Adds to what TotalsOf adds.
  void AddPending(const Counted& counted, int64_t sign);
  void NotePending(const Counted& before, const Counted& after);
  int64_t PendingIn(const TotalKey& key) const;

  Store& store_;
  absl::node_hash_map<std::string, Submission> submissions_;
  // What the store said; it does not change while the commit is made.
  std::map<TotalKey, int64_t> stored_;
  std::map<TotalKey, int64_t> new_totals_;

  // By subject and measure, and when: kept from the first question on.
  absl::btree_map<std::pair<std::string, std::string>, absl::btree_map<Quarter, int64_t>> pending_;
  bool keeps_pending_ = false;
};

}  // namespace finetune
