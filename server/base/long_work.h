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
// that short calls need. All of it together has places for half of the cores. Where others are
// short of cores, a place also rests for as long as it was worked in: a scheduler gives a thread
// that wakes up a core at once if one is free, but may let it wait for milliseconds behind one that
// works on.
//
// How it knows that others are short: a thread that works is taken from its core often. On a machine
// with a core to spare it is not, and a long list takes no longer than it must. With a single core
// work always rests.
//
// Thread-safe; outlives its pieces.
class LongWork {
 public:
  struct Options {
    int cores = 1;  // That this process may use.
    // How often the calling thread has been taken from its core before it was done.
    std::function<int64_t()> preemptions = PreemptionsOfThisThread;
    // Waits that long, a few milliseconds at most.
    std::function<void(absl::Duration)> rest = SleepThisThread;
  };

  // How long is worked before others come in.
  static constexpr absl::Duration kSlice = absl::Milliseconds(1);
  // The longest rest: what a slice took beyond that, others had.
  static constexpr absl::Duration kMostRest = absl::Milliseconds(5);
  // A preemption that comes on average within this time is one too many; so many more are borne.
  static constexpr absl::Duration kPerPreemption = absl::Milliseconds(20);
  static constexpr int kBorne = 3;
  // For how long others count as short of cores after the last sign of it, at most.
  static constexpr absl::Duration kMostMemory = absl::Milliseconds(200);

  // `clock` outlives this.
  LongWork(Options options, Clock& clock);

  // One piece of work on one thread, from when there is a place for it to its end. Holds no lock
  // that a short call may want when it is made, or steps.
  class Piece {
   public:
    // Waits for a place, and until the place has rested. Does nothing if `work` is null.
    explicit Piece(LongWork* work) : work_(work) {
      if (work_ != nullptr) work_->Begin(*this);
    }
    ~Piece() {
      if (work_ != nullptr) work_->End(*this);
    }
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;

    // Says that so many comparisons were made. Lets others come in, and rests, where it is time.
    void Step(size_t comparisons) {
      if (work_ == nullptr || (since_look_ += comparisons) < kLookEvery) return;
      since_look_ = 0;
      work_->Look(*this);
    }

   private:
    friend class LongWork;
    // In comparisons: some 100 microseconds' worth.
    static constexpr size_t kLookEvery = 3'000;

    LongWork* const work_;
    size_t since_look_ = 0;
    size_t place_ = 0;
    absl::Time began_;  // Or stepped on after a rest.
    int64_t preemptions_ = 0;
  };

  // From now on no piece waits or rests: what is left is to be done with. Idempotent.
  void Hurry() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Where one piece at a time is worked on.
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
  // Takes a place, those who came first first; how long it is still to rest.
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
