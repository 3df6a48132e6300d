#pragma once

#include <optional>

#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace finetune {

// What Segmind's clock says, learned from its answers: it may differ from ours, and its
// `created_ts` may be in a time zone that it does not name. Ours is the steady one, so that setting
// this machine's clock changes nothing. Thread-safe.
class UpstreamClock {
 public:
  // Segmind's `Date` header said `date` between these two moments.
  void NoteDate(absl::Time begin, absl::Time end, absl::Time date) ABSL_LOCKS_EXCLUDED(mu_);

  // A job that this gateway submitted between these two moments shows `created` as its time.
  void NoteCreated(absl::Time begin, absl::Time end, absl::Time created) ABSL_LOCKS_EXCLUDED(mu_);

  // What a job that is made at `steady` will show as its time, as far as that is known. What
  // created_ts said counts for more than `Date`.
  std::optional<absl::Time> CreatedAt(absl::Time steady) const ABSL_LOCKS_EXCLUDED(mu_);

  // Whether a created_ts has yet to be compared with our own time.
  bool wants_created() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable Mutex mu_;
  // How far Segmind's times are ahead of our steady ones.
  std::optional<absl::Duration> date_ahead_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Duration> created_ahead_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
