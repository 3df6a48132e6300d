#include "server/base/long_work.h"

#include <sys/resource.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace finetune {

int64_t LongWork::PreemptionsOfThisThread() {
  rusage used{};
  getrusage(RUSAGE_THREAD, &used);
  return used.ru_nivcsw;
}

void LongWork::SleepThisThread(absl::Duration time) {
  std::this_thread::sleep_for(absl::ToChronoNanoseconds(time));
}

LongWork::LongWork(Options options, Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      places_(static_cast<size_t>(std::max(options_.cores / 2, 1))) {
  if (options_.cores < 2) short_until_ = absl::InfiniteFuture();
}

void LongWork::Begin(Piece& piece) {
  const absl::Duration rest = Take(piece);
  if (rest > absl::ZeroDuration()) options_.rest(rest);
  piece.preemptions_ = options_.preemptions();
  piece.began_ = clock_.Now();
}

absl::Duration LongWork::Take(Piece& piece) {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  const uint64_t number = ++last_number_;
  while (!hurried_ && (number != next_number_ || FreePlace() == places_.size())) changed_.Wait(mu_);
  ++next_number_;
  piece.place_ = FreePlace();
  if (piece.place_ == places_.size()) return absl::ZeroDuration();  // In a hurry.
  changed_.NotifyAll();  // There may be a place for the next one, too.
  Place& place = places_[piece.place_];
  place.taken = true;
  place.worked -= std::min(place.worked, now - place.left);
  const bool rests = !hurried_ && place.worked >= kSlice && now < short_until_;
  return rests ? std::exchange(place.worked, absl::ZeroDuration()) : absl::ZeroDuration();
}

size_t LongWork::FreePlace() const {
  size_t place = 0;
  while (place < places_.size() && places_[place].taken) ++place;
  return place;
}

void LongWork::Look(Piece& piece) {
  if (clock_.Now() - piece.began_ < kSlice) return;
  End(piece);
  Begin(piece);
}

void LongWork::End(Piece& piece) {
  const int64_t preemptions = options_.preemptions() - piece.preemptions_;
  const absl::Time now = clock_.Now();
  {
    MutexLock lock(mu_);
    NotePreemptions(preemptions, now);
    if (piece.place_ == places_.size()) return;
    Place& place = places_[piece.place_];
    place.taken = false;
    place.worked = std::min(place.worked + (now - piece.began_), kMostRest);
    place.left = now;
  }
  changed_.NotifyAll();
}

void LongWork::NotePreemptions(int64_t count, absl::Time now) {
  if (count <= 0 || short_until_ == absl::InfiniteFuture()) return;
  short_until_ = std::max(short_until_, now - kBorne * kPerPreemption) + count * kPerPreemption;
  short_until_ = std::min(short_until_, now + kMostMemory);
}

void LongWork::Hurry() {
  {
    MutexLock lock(mu_);
    hurried_ = true;
  }
  changed_.NotifyAll();
}

}  // namespace finetune
