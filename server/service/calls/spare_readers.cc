#include "server/service/calls/spare_readers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"

namespace finetune {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(50);
// While the threads use less of the processor than this between two looks, they count as idle.
constexpr absl::Duration kIdle = absl::Milliseconds(1);
// If an event is not taken for this long while the threads use this much of the processor, the
// thread that would take it is held up by its work. If they use less, they wait for a processor
// themselves: on a busy machine more threads would only share what there is, and pass the sockets
// to each other.
constexpr absl::Duration kPatience = absl::Milliseconds(20);
// Even on a busy machine, an event that has waited this many times as long is held up by something
// else.
constexpr int kMostPatience = 12;
// If this many calls were refused between two looks, a spare thread helps in any case.
constexpr int64_t kManyRefused = 20;
// How many quiet looks in a row it takes before a spare thread is let go.
constexpr int kCalm = 20;
// How long a spare thread waits for an event before it asks whether it is still needed.
constexpr int64_t kTurnMs = 50;

}  // namespace

SpareReaders::SpareReaders(grpc::CompletionQueue& queue, int most, Work work)
    : queue_(queue), most_(most), work_(std::move(work)) {}

void SpareReaders::Start() {
  for (int i = 0; i < most_; ++i)
    spare_.push_back(
        std::make_unique<Thread>(absl::StrCat("calls-spare-", i), [this, i] { Help(i); }));
  guard_ = std::make_unique<Thread>("calls-guard", [this] { Guard(); });
}

void SpareReaders::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  // The event is taken before it ends, by a spare thread if need be.
  if (guard_ != nullptr) guard_->Join();
  {
    MutexLock lock(mu_);
    wanted_ = 0;
    ended_ = true;
  }
  changed_.NotifyAll();
  for (const auto& thread : spare_) thread->Join();
}

void SpareReaders::Guard() {
  absl::Duration used = work_.used();
  int calm = 0;
  while (Sleep(kInterval)) {
    const absl::Duration before = std::exchange(used, work_.used());
    const bool many_refused = ManyRefused();
    bool helping;
    {
      MutexLock lock(mu_);
      if (many_refused && wanted_ == 0) {
        wanted_ = 1;
        changed_.NotifyAll();
      }
      helping = wanted_ > 0;
    }
    if (many_refused) calm = 0;
    if (!helping && used - before < kIdle) continue;
    calm = Try() ? calm + 1 : 0;
    if (calm < kCalm || !helping) continue;
    calm = 0;
    MutexLock lock(mu_);
    --wanted_;
  }
}

bool SpareReaders::ManyRefused() {
  const int64_t refused = work_.refused();
  return refused - std::exchange(refused_, refused) > kManyRefused;
}

bool SpareReaders::Sleep(absl::Duration time) {
  const absl::Time until = SteadyNow() + time;
  MutexLock lock(mu_);
  for (absl::Duration left = time; left > absl::ZeroDuration() && !stopping_;
       left = until - SteadyNow())
    changed_.WaitFor(mu_, left);
  return !stopping_;
}

bool SpareReaders::Try() {
  {
    MutexLock lock(mu_);
    pinging_ = true;
  }
  alarm_.Set(&queue_, gpr_inf_past(GPR_CLOCK_MONOTONIC), static_cast<QueueEvent*>(&ping_));
  bool at_once = true;
  absl::Duration used = work_.used();
  for (int waits = 1; !AwaitPing(kPatience); ++waits) {
    const absl::Duration now_used = work_.used();
    if (now_used - used < kPatience && waits < kMostPatience) continue;
    at_once = false;
    used = now_used;
    waits = 0;
    MutexLock lock(mu_);
    if (wanted_ == most_) continue;
    ++wanted_;
    changed_.NotifyAll();
  }
  return at_once;
}

bool SpareReaders::AwaitPing(absl::Duration time) {
  const absl::Time until = SteadyNow() + time;
  MutexLock lock(mu_);
  for (absl::Duration left = time; pinging_ && left > absl::ZeroDuration();
       left = until - SteadyNow())
    changed_.WaitFor(mu_, left);
  return !pinging_;
}

void SpareReaders::OnPing() {
  {
    MutexLock lock(mu_);
    pinging_ = false;
  }
  changed_.NotifyAll();
}

bool SpareReaders::AwaitNeed(int number) {
  MutexLock lock(mu_);
  while (wanted_ <= number && !ended_) changed_.Wait(mu_);
  return wanted_ > number;
}

void SpareReaders::Help(int number) {
  void* tag = nullptr;
  bool ok = false;
  while (AwaitNeed(number)) {
    const gpr_timespec until =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kTurnMs, GPR_TIMESPAN));
    switch (queue_.AsyncNext(&tag, &ok, until)) {
      case grpc::CompletionQueue::GOT_EVENT:
        static_cast<QueueEvent*>(tag)->OnEvent(ok);
        break;
      case grpc::CompletionQueue::TIMEOUT:
        break;
      case grpc::CompletionQueue::SHUTDOWN:
        return;
    }
    work_.also();
  }
}

}  // namespace finetune
