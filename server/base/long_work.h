#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"

namespace finetune {

// Keeps work that takes long, such as lists of all jobs with large filters, from taking the cores
// that short calls need. All such work together gets half of the cores. When other threads are
// short of cores, it also rests for as long as it has worked: the scheduler gives a thread that
// wakes up a core at once if one is free, but may let it wait for milliseconds behind one that
// keeps working.
//
// It knows that others are short by how often a working thread is taken from its core. On a machine
// with a core to spare that is rare, and a long list takes no longer than it must. With a single
// core, work always rests.
//
// Thread-safe; outlives its pieces.
class LongWork {
 public:
  struct Options {
    int cores = 1;  // How many this process may use.
    // How often the calling thread has been taken from its core while it was working.
    std::function<int64_t()> preemptions = PreemptionsOfThisThread;
    // Sleeps for a few milliseconds at most.
    std::function<void(absl::Duration)> rest = SleepThisThread;
  };

  // How long to work before others get a turn.
  static constexpr absl::Duration kSlice = absl::Milliseconds(1);
  // The longest rest: if a slice took longer than this, others had the core meanwhile.
  static constexpr absl::Duration kMostRest = absl::Milliseconds(5);
  // More than one preemption in this time, on average, is too many; kBorne more are tolerated.
  static constexpr absl::Duration kPerPreemption = absl::Milliseconds(20);
  static constexpr int kBorne = 3;
  // How long others count as short of cores after the last sign of it, at most.
  static constexpr absl::Duration kMostMemory = absl::Milliseconds(200);

  // `clock` outlives this.
  LongWork(Options options, Clock& clock);

  // One piece of work on one thread, from when there is a place for it until its end. Whoever makes
  // one or calls Step must hold no lock that a short call may want.
  class Piece {
   public:
    // Waits for a place, and until that place has rested. Does nothing if `work` is null.
    explicit Piece(LongWork* work) : work_(work) {
      if (work_ != nullptr) work_->Begin(*this);
    }
    ~Piece() {
      if (work_ != nullptr) work_->End(*this);
    }
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;

    // Reports how many comparisons were made. Gives others a turn, and rests, when it is time to.
    void Step(size_t comparisons) {
      if (work_ == nullptr || (since_look_ += comparisons) < kLookEvery) return;
      since_look_ = 0;
      work_->Look(*this);
    }

   private:
    friend class LongWork;
    // In comparisons: about 100 microseconds' worth.
    static constexpr size_t kLookEvery = 3'000;

    LongWork* const work_;
    size_t since_look_ = 0;
    size_t place_ = 0;
    absl::Time began_;  // Or went on after a rest.
    int64_t preemptions_ = 0;
  };

  // From now on no piece waits or rests, so that what is left ends soon. Idempotent.
  void Hurry() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Room for one piece at a time.
  struct Place {
    bool taken = false;
    absl::Duration worked = absl::ZeroDuration();  // Without a rest, until `left`.
    absl::Time left = absl::InfinitePast();
  };

  static int64_t PreemptionsOfThisThread();
  static void SleepThisThread(absl::Duration time);

  void Begin(Piece& piece) ABSL_LOCKS_EXCLUDED(mu_);
  void Look(Piece& piece) ABSL_LOCKS_EXCLUDED(mu_);
  void End(Piece& piece) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes a place, first come, first served; returns how long that place must still rest.
  absl::Duration Take(Piece& piece) ABSL_LOCKS_EXCLUDED(mu_);
  // The index of a free one; the number of places if there is none.
  size_t FreePlace() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NotePreemptions(int64_t count, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const Options options_;
  Clock& clock_;

  Mutex mu_;
  CondVar changed_;
  bool hurried_ ABSL_GUARDED_BY(mu_) = false;
  // Pieces are let in by number.
  uint64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t next_number_ ABSL_GUARDED_BY(mu_) = 1;
  std::vector<Place> places_ ABSL_GUARDED_BY(mu_);
  // Until when others count as short of cores. Each preemption moves it on by kPerPreemption.
  absl::Time short_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

}  // namespace finetune
