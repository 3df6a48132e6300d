#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "server/base/clock.h"
#include "server/jobs/record/recorder.h"

namespace finetune {

// Calls that wait for a job to reach a state, or for the catalog to reach a revision
// (WaitFineTune, Freshness.min_revision). Thread-safe. Told by the recorder.
class JobWaits : public CommitListener {
 public:
  // The job as it was when the wait ended; `met` false at the deadline, on Cancel and on shutdown.
  using Done = absl::AnyInvocable<void(VersionPtr version, bool met) &&>;
  using Predicate = absl::AnyInvocable<bool(const FineTuneVersion&) const>;

  JobWaits(Catalog& catalog, Clock& clock);
  ~JobWaits() override;

  // Ends at once if the job is there already. `id` must exist. The returned ticket is for Cancel.
  // `done` runs exactly once, with no lock held.
  uint64_t WaitForFineTune(const std::string& id, Predicate predicate, absl::Time deadline,
                           Done done);
  // `done` gets a null version.
  uint64_t WaitForRevision(uint64_t revision, absl::Time deadline, Done done);
  void Cancel(uint64_t ticket);
  // Ends all waits, and later ones at once.
  void Shutdown();

  void OnCommitted(absl::Span<const ChangePtr> changes) override;
  void OnReloaded() override;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace finetune
