#pragma once

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/trace.h"
#include "server/base/worker.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/draft.h"
#include "server/store/store.h"

namespace finetune {

// This process's only writer of the record. Mutations run one after another on its thread
// ("recorder"), several share one commit, and what they wrote becomes visible (catalog, then
// listeners, then `done`) only after the commit. Where other processes write to the same record,
// what they committed becomes visible in the same way, in the order of all commits. Thread-safe.
class Recorder {
 public:
  struct Options {
    // Jobs that were not made through this gateway and that Segmind has not listed so long are
    // forgotten.
    absl::Duration forget_lost_after = absl::InfiniteDuration();
    // How long a commit's callers wait while nobody knows its outcome, and how often it is asked
    // for.
    absl::Duration open_patience = absl::Seconds(2);
    absl::Duration ask_again_after = absl::Milliseconds(50);
  };

  // Reads and writes through the draft; an error writes nothing of it.
  using Mutation = absl::AnyInvocable<absl::Status(Draft&)>;
  using Done = absl::AnyInvocable<void(absl::Status) &&>;

  Recorder(Store& store, Catalog& catalog, Clock& clock, Metrics& metrics);
  Recorder(const Options& options, Store& store, Catalog& catalog, Clock& clock, Metrics& metrics);
  ~Recorder();

  // Loads the store into the catalog. Once, before the first Record.
  absl::Status Load();

  // Whether other processes may write to the record.
  bool is_shared() const;

  // Hears of what is committed from now on. Listeners outlive the recorder's Stop.
  void AddListener(CommitListener* listener);

  // `done` runs exactly once on the recorder's thread: with the mutation's own error, with
  // UNAVAILABLE / STORE_UNAVAILABLE if it could not be committed (or if nobody knows whether it
  // was: then it may become visible later), with ABORTED, without having been run, if the term in
  // `needs` is over, or with OK once it is visible. CANCELLED after Stop, then on the caller's
  // thread. The commit is a span of `trace`; `needs` is what the mutation is going to ask the
  // store.
  void Record(Mutation mutation, Done done, const TraceContext& trace = {}, TurnNeeds needs = {});

  // Runs `done` once what was committed before this call, by whichever process, is visible:
  // on the recorder's thread, or at once where nobody else commits. Calls that come together share
  // one question. UNAVAILABLE / STORE_UNAVAILABLE if nobody can be asked; CANCELLED after Stop.
  void CatchUp(Done done);

  // Finishes what is queued, then refuses. Idempotent.
  void Stop();

  // The latest commit's outcome, or a probe's: whether the store can be written.
  absl::Status store_status() const;
  // Under which name this process owns what it submits, and whether that counts.
  const Membership& membership() const;
  // Whether a submission's outcome is not known, or awaited, by the latest commit. Without one a
  // read of Segmind that has no news has nothing to be recorded.
  bool has_unsettled() const;
  // Tries the store for real while it failed last; for submissions that must not start in vain, and
  // for recovery.
  void Probe(Done done);

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace finetune
