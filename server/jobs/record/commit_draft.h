#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/draft.h"
#include "server/jobs/record/draft_intents.h"
#include "server/jobs/record/draft_ledger.h"
#include "server/store/store.h"

namespace finetune {

// What the mutations of one commit see and write: two layers over what is committed, one for the
// mutations that have succeeded and one for the mutation that is running. Recorder's thread only;
// the references outlive it.
class CommitDraft : public Draft {
 public:
  // The numbers of newer reads that brought nothing else new about their jobs, by id.
  using Reads = absl::flat_hash_map<std::string, uint64_t>;

  struct Base {
    const Catalog& catalog;
    Store& store;
    const IntentTable& unsettled;
    const Reads& reads;
    // What a new submission is told if none may be recorded; OK otherwise.
    const absl::Status& refusal;
    const std::string& marker_key;
    const std::string& owner;
  };

  CommitDraft(const Base& base, absl::Time now);

  std::optional<record::FineTuneRecord> Find(std::string_view id) override;
  std::optional<record::FineTuneRecord> FindUpstream(std::string_view upstream_id) override;
  void Put(record::FineTuneRecord record) override;
  void Forget(std::string_view id) override;
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& request_id) override;
  std::optional<record::Intent> FindIntentByMarker(std::string_view marker) override;
  std::vector<record::Intent> UnsettledIntents() override;
  std::optional<record::FineTuneRecord> FindForeignByMarker(std::string_view marker) override;
  std::optional<record::FineTuneRecord> FindSubmittedByMarker(std::string_view marker) override;
  void PutIntent(record::Intent intent) override;
  void DeleteIntent(const std::string& caller, const std::string& request_id) override;
  absl::StatusOr<Spending> SpendingOf(const std::string& caller) override;
  absl::StatusOr<std::vector<int64_t>> TotalsOf(const std::vector<TotalKey>& keys) override {
    return ledger_.TotalsOf(keys);
  }
  absl::StatusOr<SpendingRows> ReadSpending(const Store::SpendingQuery& query) override {
    return store_.ReadSpending(query);
  }
  absl::Time now() const override { return now_; }
  const std::string& marker_key() const override { return marker_key_; }
  const std::string& owner() const override { return owner_; }

  // Ends the mutation that ran: what it put joins the commit, or is dropped if it failed. Returns
  // its status, unless it put something that cannot be written.
  absl::Status EndMutation(absl::Status status);

  // What all mutations together want written, once the last one has ended.
  StoreBatch TakeBatch();
  const std::vector<ChangePtr>& changes() const { return changes_; }
  std::vector<record::Intent> intents() const { return intents_.All(); }
  const Reads& newer_reads() const { return newer_reads_; }
  bool empty() const {
    return changes_.empty() && intents_.empty() && ledger_.new_totals().empty();
  }
  // How often mutations have put something that is written.
  size_t writes() const { return changes_.size() + intents_.puts(); }

 private:
  using Record = record::FineTuneRecord;
  // Ids by Segmind's names; whether the job still has the name is asked of the job.
  using UpstreamIds = absl::flat_hash_map<std::string, std::string>;

  // A job as its latest change leaves it. `bytes` is empty if that is not of this commit.
  struct Written {
    Record record;
    std::string bytes;
    VersionPtr version;
    bool forgotten = false;
  };

  // Of the mutation that runs; nullopt where it forgets the job.
  const std::optional<Record>* FindOwn(const std::string& id) const;
  void PutOwn(std::string id, std::optional<Record> record);
  void Accept(const std::string& id, std::optional<Record> record);
  void Write(Record record, std::optional<Written> base);
  void WriteForgotten(const std::string& id, Written base);
  uint64_t NextRevision() const { return base_revision_ + changes_.size() + 1; }
  // The next change, to the job as `written`.
  void AddChange(const std::string& id, Written written, std::optional<Written> base);
  // With this marker, by a submission of the record or by none; `committed` may be null.
  std::optional<Record> FindByMarker(std::string_view marker, bool submitted,
                                     const VersionPtr& committed);
  std::optional<Written> BaseOf(const std::string& id) const;
  int64_t CountActive(const std::string& caller) const;
  // For the ledger: what mutations that went well have put.
  void CountJob(const std::optional<Written>& base, const Record& record, const std::string& id);
  void CountIntent(const record::Intent& intent);
  DraftLedger::Submission& CountedSubmission(const std::string& id, const IntentKey& key);

  const Catalog& catalog_;
  Store& store_;
  const IntentTable& unsettled_;
  const Reads& reads_;
  const absl::Status& refusal_;
  const std::string& marker_key_;
  const std::string& owner_;
  const absl::Time now_;
  const uint64_t base_revision_;

  // The mutation that runs.
  absl::flat_hash_map<std::string, std::optional<Record>> own_records_;
  std::vector<std::string> own_order_;
  UpstreamIds own_upstream_;
  absl::Status own_error_;

  // Ids of jobs that any mutation of this commit has put, by marker; whether they have it is asked
  // of the job.
  absl::flat_hash_map<std::string, absl::flat_hash_set<std::string>> marked_;

  // The mutations that went well.
  absl::flat_hash_map<std::string, Written> done_records_;
  UpstreamIds done_upstream_;
  std::vector<StoredChange> stored_changes_;
  std::vector<ChangePtr> changes_;
  Reads newer_reads_;

  DraftIntents intents_;  // Of both layers.
  DraftLedger ledger_;
};

}  // namespace finetune
