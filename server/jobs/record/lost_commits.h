#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/commit_draft.h"
#include "server/jobs/record/recent_intents.h"
#include "server/store/store.h"

namespace finetune {

// What was committed but is no longer in the record, as after a database's failover: which
// submissions to bring back, and whether a new one must wait because the same one may have been
// made before. Recorder's thread only; what it is given outlives it.
class LostCommits {
 public:
  LostCommits(Catalog& catalog, Clock& clock, Metrics& metrics);

  // StoreState.lost of the first load.
  void Load(const std::string& unknown_loss);
  // By the latest news.
  void set_caution(const std::optional<StoreCaution>& caution) { caution_ = caution; }
  // These submissions are in the record as of the commit with this number.
  void NoteCommitted(uint64_t seq, const std::vector<record::Intent>& intents);
  // The record was loaded anew; `shown` was shown until then. Submissions that were seen and are
  // not in this history are to be brought back.
  void NoteReloaded(const StoreState& state, const StorePoint& shown);

  // Before anything else is done in the new history: a repeated request must find them.
  void BringThemBack(CommitDraft& draft);
  // What a new submission is told if the record may lack one with its request_id; OK otherwise.
  absl::Status WhyNotSubmit();
  // Whether others wait for a commit of this process, whatever is in it.
  bool IsAwaited() const;
  // Tells others, with the commit that is being made.
  void Describe(StoreBatch& batch) const;
  // That commit is durable.
  void OnCommitted();

 private:
  Catalog& catalog_;
  Clock& clock_;
  prometheus::Counter& total_;

  std::string unknown_loss_;
  std::optional<StoreCaution> caution_;
  bool was_cautious_ = false;  // In the latest turn.
  // Commits that this process saw are gone, and no commit of its says so yet.
  bool has_lost_ = false;
  RecentIntents recent_;
  std::vector<record::Intent> to_bring_back_;
};

}  // namespace finetune
