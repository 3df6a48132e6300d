#pragma once

#include <deque>

#include "absl/container/flat_hash_map.h"
#include "server/base/fair_share.h"
#include "server/base/mutex.h"

namespace finetune {

// Calls that have come and wait for their turn: more come than can be looked at. Callers take
// turns, a call each, so that whoever sends a thousand at once waits for itself, and others' calls
// do not stand behind them in the order in which gRPC tells of them. Thread-safe.
class ArrivalTurns {
 public:
  // A call; whoever adds it owns it, and keeps it until its turn has come.
  class Arrival {
   public:
    // On whichever thread runs it.
    virtual void OnTurn() = 0;

   protected:
    ~Arrival() = default;

   private:
    friend class ArrivalTurns;
    Arrival* next_ = nullptr;
  };

  // While it lives, this thread takes what has come without running it. At most one a thread.
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

  // Runs it now or, if this thread gathers, when it is the turn of `sharer`. Null for callers that
  // nobody knows, who are one; lives until then.
  static void RunInTurn(const Sharer* sharer, Arrival& arrival);

  // Whether this thread has run calls of several callers, of late: one that calls alone need not be
  // gathered, which costs a twentieth of a get.
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
  // The sharers who wait, in the order of their turns; each is in it once.
  std::deque<const Sharer*> turns_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const Sharer*, Line> lines_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
