#include "server/service/calls/spare_readers.h"

#include <gtest/gtest.h>

#include <thread>

#include "server/service/calls/call_queues.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

class Told final : public QueueEvent {
 public:
  void OnEvent(bool) override { done.Notify(); }
  Notification done;
};

void Post(grpc::CompletionQueue& queue, grpc::Alarm& alarm, Told& event) {
  alarm.Set(&queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), static_cast<QueueEvent*>(&event));
}

int64_t NoneRefused() { return 0; }

void Empty(grpc::CompletionQueue& queue) {
  queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) continue;
}

TEST(SpareReaders, TakeEventsWhileThoseWhoseWorkItIsAreKept) {
  const auto queue = MakeQuietQueue();
  std::atomic<int64_t> used_ms = 0;
  std::atomic<int> also = 0;
  // As much of the processor as a thread that is kept takes; nobody else takes events.
  SpareReaders spare(*queue, 2,
                     {.used = [&] { return absl::Milliseconds(used_ms += 50); },
                      .refused = NoneRefused,
                      .also = [&] { ++also; }});
  spare.Start();
  for (int i = 0; i < 3; ++i) {
    Told event;
    grpc::Alarm alarm;
    Post(*queue, alarm, event);
    event.done.WaitForNotification();
  }
  spare.Stop();
  EXPECT_GE(also, 3) << "what its threads would have done besides";
  Empty(*queue);
}

TEST(SpareReaders, OneThatIsKeptIsHelpedByTheNext) {
  const auto queue = MakeQuietQueue();
  std::atomic<int64_t> used_ms = 0;
  SpareReaders spare(*queue, 2,
                     {.used = [&] { return absl::Milliseconds(used_ms += 50); },
                      .refused = NoneRefused,
                      .also = [] {}});
  spare.Start();
  class Keeps final : public QueueEvent {
   public:
    void OnEvent(bool) override {
      begun.Notify();
      go_on.WaitForNotification();
      ended.Notify();
    }
    Notification begun, go_on, ended;
  } keeps;
  grpc::Alarm first, second;
  first.Set(queue.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC), static_cast<QueueEvent*>(&keeps));
  keeps.begun.WaitForNotification();
  Told event;
  Post(*queue, second, event);
  event.done.WaitForNotification();
  keeps.go_on.Notify();
  keeps.ended.WaitForNotification();
  spare.Stop();
  Empty(*queue);
}

TEST(SpareReaders, AreNotWokenForAThreadThatWaitsForTheProcessor) {
  const auto queue = MakeQuietQueue();
  Notification waited_for, taken;
  std::atomic<int> looked = 0;
  // Not idle at first; and from then on nobody gets the processor.
  SpareReaders spare(*queue, 2,
                     {.used =
                          [&] {
                            const int look = ++looked;
                            if (look == 8) {
                              waited_for.Notify();
                              taken.WaitForNotification();
                            }
                            return look == 1 ? absl::ZeroDuration() : absl::Milliseconds(2);
                          },
                      .refused = NoneRefused,
                      .also = [] {}});
  spare.Start();
  waited_for.WaitForNotification();
  void* tag = nullptr;
  bool ok = false;
  const auto now = gpr_inf_past(GPR_CLOCK_MONOTONIC);
  EXPECT_EQ(queue->AsyncNext(&tag, &ok, now), grpc::CompletionQueue::GOT_EVENT);
  if (tag != nullptr) static_cast<QueueEvent*>(tag)->OnEvent(ok);
  taken.Notify();
  spare.Stop();
  Empty(*queue);
}

TEST(SpareReaders, OneHelpsWhileManyCallsAreRefused) {
  const auto queue = MakeQuietQueue();
  std::atomic<int64_t> refused = 0;
  // Nobody uses much of the processor; nobody else takes events.
  SpareReaders spare(*queue, 2,
                     {.used = [] { return absl::ZeroDuration(); },
                      .refused = [&]() -> int64_t { return refused += 100; },
                      .also = [] {}});
  spare.Start();
  Told event;
  grpc::Alarm alarm;
  Post(*queue, alarm, event);
  event.done.WaitForNotification();
  spare.Stop();
  Empty(*queue);
}

TEST(SpareReaders, AreNotWokenWhileAllIsIdle) {
  const auto queue = MakeQuietQueue();
  std::atomic<int> looked = 0;
  Notification often;
  SpareReaders spare(*queue, 2,
                     {.used =
                          [&] {
                            if (++looked == 5) often.Notify();
                            return absl::ZeroDuration();
                          },
                      .refused = NoneRefused,
                      .also = [] {}});
  spare.Start();
  often.WaitForNotification();
  spare.Stop();
  queue->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  EXPECT_FALSE(queue->Next(&tag, &ok)) << "there was an event";
}

}  // namespace
}  // namespace finetune
