#include "server/service/calls/arrival_turns.h"

#include <utility>

namespace finetune {
namespace {

thread_local ArrivalTurns::Gathering* gathering = nullptr;

// A caller counts as alone after this many calls in a row: half a minute of a flood, so that the
// next call of a caller who comes now and then is no surprise.
constexpr int kAlone = 1'000'000;

struct Callers {
  const Sharer* last = nullptr;
  bool any = false;
  int until_alone = 0;

  void Note(const Sharer* sharer) {
    if (std::exchange(any, true) && sharer != last)
      until_alone = kAlone;
    else if (until_alone > 0)
      --until_alone;
    last = sharer;
  }
};
thread_local Callers callers;

}  // namespace

ArrivalTurns::Gathering::Gathering(ArrivalTurns& turns) : turns_(turns) { gathering = this; }

ArrivalTurns::Gathering::~Gathering() { gathering = nullptr; }

void ArrivalTurns::RunInTurn(const Sharer* sharer, Arrival& arrival) {
  callers.Note(sharer);
  if (gathering == nullptr) return arrival.OnTurn();
  ++gathering->arrivals_;
  gathering->turns_.Add(sharer, arrival);
}

bool ArrivalTurns::HasSeveralCallers() { return callers.until_alone > 0; }

void ArrivalTurns::Add(const Sharer* sharer, Arrival& arrival) {
  MutexLock lock(mu_);
  Line& line = lines_[sharer];
  if (line.first == nullptr) {
    line.first = &arrival;
    turns_.push_back(sharer);
  } else {
    line.last->next_ = &arrival;
  }
  line.last = &arrival;
}

ArrivalTurns::Arrival* ArrivalTurns::TakeNext() {
  MutexLock lock(mu_);
  if (turns_.empty()) return nullptr;
  const Sharer* sharer = turns_.front();
  turns_.pop_front();
  const auto line = lines_.find(sharer);
  Arrival* arrival = line->second.first;
  line->second.first = std::exchange(arrival->next_, nullptr);
  if (line->second.first != nullptr)
    turns_.push_back(sharer);
  else
    lines_.erase(line);
  return arrival;
}

bool ArrivalTurns::RunSome(int most) {
  for (int i = 0; i < most; ++i) {
    Arrival* arrival = TakeNext();
    if (arrival == nullptr) return false;
    arrival->OnTurn();
  }
  MutexLock lock(mu_);
  return !turns_.empty();
}

}  // namespace finetune
