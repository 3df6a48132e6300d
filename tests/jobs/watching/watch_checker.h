#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "server/base/mutex.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/watching/watch_hub.h"

namespace finetune {

// Every change there ever was, across restarts: what clients are judged by. Thread-safe.
class WatchHistory : public CommitListener {
 public:
  void OnCommitted(absl::Span<const ChangePtr> changes) override ABSL_LOCKS_EXCLUDED(mu_);

  // Adds what came after the last of `changes`; by revision. Waits for `through`: a client may be
  // told by the catalog of what this has yet to hear.
  void CopyTo(std::map<uint64_t, ChangePtr>& changes, uint64_t through) ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t revision() const ABSL_LOCKS_EXCLUDED(mu_);
  // A read of Segmind that began at `time` is all in the record now.
  void Observed(absl::Time time) ABSL_LOCKS_EXCLUDED(mu_);
  // The revision that such a read led to.
  uint64_t RevisionAt(absl::Time time) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable Mutex mu_;
  CondVar added_;
  std::map<uint64_t, ChangePtr> changes_ ABSL_GUARDED_BY(mu_);
  std::map<absl::Time, uint64_t> observed_ ABSL_GUARDED_BY(mu_);
};

// Goes through what one client was sent, stream after stream, and compares it with the record. Any
// failure is a sentence; the first one of a client is kept. Not thread-safe.
class WatchChecker {
 public:
  // `spec` but for its resume point is the same for all of the client's streams.
  WatchChecker(WatchSpec spec, WatchHistory& history) : spec_(spec), history_(history) {}

  // A stream begins: anew, or after the client's last token.
  void Begin(bool resumed);
  void See(const pb::WatchFineTunesResponse& message);
  // The record at its end, for a client that has read all and was told so.
  void End();

  // What to resume from; empty if there is nothing.
  const std::string& token() const { return token_; }
  const std::string& failure() const { return failure_; }
  const std::map<int, int>& resets() const { return resets_; }  // By reason.

 private:
  enum class Phase { kSnapshot, kLive };

  void SeeChange(const pb::WatchFineTunesResponse& message);
  void SeeSnapshot(const FineTuneVersion& version);
  void SeeLive(const VersionChange& change, pb::Change::Type type);
  void CheckMayComeNow(uint64_t revision, const std::string& name);
  // What the client has is what the record had at `revision`.
  void CheckInSync(uint64_t revision);
  void CheckToken(const pb::WatchFineTunesResponse& message);
  bool Concerns(const VersionChange& change) const;
  bool Wants(const VersionPtr& version) const;
  // The jobs that match at a revision, with the revisions of their versions.
  std::map<std::string, uint64_t> MatchingAt(uint64_t revision);
  void Fail(const std::string& what);

  const WatchSpec spec_;
  WatchHistory& history_;
  std::map<uint64_t, ChangePtr> changes_;  // As of now.

  Phase phase_ = Phase::kSnapshot;
  bool resumed_ = false;
  bool reset_ = false;        // In this stream; then a whole snapshot follows.
  uint64_t snapshot_at_ = 0;  // The snapshot's last job.
  uint64_t revision_ = 0;     // The last message's.
  uint64_t base_ = 0;         // Where live changes began.
  std::string token_;
  std::map<std::string, uint64_t> has_;  // Job to the revision that the client has of it.
  std::set<std::string> told_;           // Jobs that were in a change since base_.
  std::map<int, int> resets_;
  std::string failure_;
};

}  // namespace finetune
