#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/store/store.h"

namespace finetune {

// Numbers the reads of Segmind in the order in which they begin, also across restarts. These
// numbers, and never the time of day, say which of two reads is newer.
//
// A single process just counts. Several processes that share a record use the microseconds of the
// database's clock, which each of them knows to within the duration of a question: the number of
// something that begins is never later than the true time, and that of something that has ended
// never earlier, so that nothing is taken for newer or older than it was, even across processes.
// Thread-safe.
class ReadNumbers {
 public:
  // Of a read that begins now: greater than any that was given out or noted.
  uint64_t Next() ABSL_LOCKS_EXCLUDED(mu_);
  // Not later than now, and not earlier than now: what began with a number of the first kind is
  // newer than what has ended with a smaller number of the second kind.
  uint64_t NotAfterNow() ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t NotBeforeNow() ABSL_LOCKS_EXCLUDED(mu_);
  // This one was given out already, by another process or an earlier one.
  void Note(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);

  void SetClock(const StoreClock& clock) ABSL_LOCKS_EXCLUDED(mu_);
  // By the same clock, as well as it is known; nullopt for one process alone.
  std::optional<absl::Time> SharedTime(absl::Time steady) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // The database's clock less the steady one lies between these.
  struct Offset {
    absl::Duration least;
    absl::Duration most;
    absl::Time as_of;
  };

  mutable Mutex mu_;
  uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<Offset> offset_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
