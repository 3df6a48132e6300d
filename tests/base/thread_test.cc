#include "server/base/thread.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include "tests/base/notification.h"

namespace finetune {
namespace {

// The name that the system shows of a thread that is given this one.
std::string ShownName(const std::string& name) {
  char shown[64] = "";
  Thread thread(name, [&] { pthread_getname_np(pthread_self(), shown, sizeof shown); });
  thread.Join();
  return shown;
}

TEST(Thread, RunsItsBodyOnceUnderItsName) {
  int runs = 0;
  Thread thread("runner", [&] { ++runs; });
  thread.Join();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(ShownName("runner"), "runner");
  // The system takes no longer ones.
  EXPECT_EQ(ShownName("a-name-that-is-too-long"), "a-name-that-is-");
}

TEST(Thread, IsCurrentWithinItAlone) {
  const Thread* self = nullptr;
  Notification made;
  bool within = false;
  Thread thread("self", [&] {
    made.WaitForNotification();
    within = self->IsCurrent();
  });
  self = &thread;
  made.Notify();
  thread.Join();
  EXPECT_TRUE(within);
  EXPECT_FALSE(thread.IsCurrent());
}

}  // namespace
}  // namespace finetune
