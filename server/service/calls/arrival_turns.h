#pragma once

#include <deque>

#include "absl/container/flat_hash_map.h"
#include "server/base/fair_share.h"
#include "server/base/mutex.h"

namespace finetune {

// Calls that have arrived and wait for their turn, because more arrive than can be handled. Callers
// take turns, one call each, so that a caller that sends a thousand at once waits for itself, and
// the calls of others do not queue behind them in the order in which gRPC reports them.
// Thread-safe.
class ArrivalTurns {
 public:
  // A call; the code that adds it owns it, and keeps it until its turn has come.
  class Arrival {
   public:
    // Called on any thread that runs calls.
    virtual void OnTurn() = 0;

   protected:
    ~Arrival() = default;

   private:
    friend class ArrivalTurns;
    Arrival* next_ = nullptr;
  };

  // While it lives, this thread collects calls without running them. At most one on a thread.
  class Gathering {
   public:
    explicit Gathering(ArrivalTurns& turns);
    ~Gathering();
    Gathering(const Gathering&) = delete;
    Gathering& operator=(const Gathering&) = delete;

    int arrivals() const { return arrivals_; }

   private:
    friend class ArrivalTurns;
    ArrivalTurns& turns_;
    int arrivals_ = 0;
  };

  // Runs it now or, if this thread gathers, when it is the turn of `sharer`, which lives until
  // then. Null stands for all callers that are not known.
  static void RunInTurn(const Sharer* sharer, Arrival& arrival);

  // Whether this thread has recently run calls of several callers. Calls of a lone caller need not
  // be gathered, which would cost a twentieth of a get.
  static bool HasSeveralCallers();

  // Runs up to `most`; false if nothing is left to run.
  bool RunSome(int most) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // First come, first served.
  struct Line {
    Arrival* first = nullptr;
    Arrival* last = nullptr;
  };

  void Add(const Sharer* sharer, Arrival& arrival) ABSL_LOCKS_EXCLUDED(mu_);
  // Null if there is none.
  Arrival* TakeNext() ABSL_LOCKS_EXCLUDED(mu_);

  Mutex mu_;
  // The sharers that wait, each once, in the order of their turns.
  std::deque<const Sharer*> turns_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const Sharer*, Line> lines_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
