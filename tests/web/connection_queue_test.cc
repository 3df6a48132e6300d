#include "server/web/connection_queue.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace finetune {
namespace {

// A door's end of a connection, and the client's.
class Connection {
 public:
  Connection() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()), 0); }
  ~Connection() {
    for (const int end : ends_) close(end);
  }

  int door() const { return ends_[0]; }
  bool CutOff() const {
    char byte;
    return recv(ends_[1], &byte, 1, 0) == 0;
  }

 private:
  std::array<int, 2> ends_{};
};

TEST(ConnectionQueue, CutsOffWhoHasWaitedForLongestWhenThereAreTooMany) {
  Connection first, second, third, fourth;
  ConnectionQueue queue(2);
  queue.Begin(first.door());
  queue.Begin(second.door());
  EXPECT_FALSE(first.CutOff());
  queue.Begin(third.door());
  EXPECT_TRUE(first.CutOff());
  queue.End(first.door());
  EXPECT_FALSE(second.CutOff());
  queue.Begin(fourth.door());
  EXPECT_TRUE(second.CutOff());
  EXPECT_FALSE(third.CutOff());
}

TEST(ConnectionQueue, PutsWhoWasAnsweredAtTheEnd) {
  Connection busy, silent, next;
  ConnectionQueue queue(2);
  queue.Begin(busy.door());
  queue.Begin(silent.door());
  queue.Answered(busy.door());
  queue.Begin(next.door());
  EXPECT_FALSE(busy.CutOff());
  EXPECT_TRUE(silent.CutOff());
  queue.Answered(silent.door());  // An answer that was on its way when it was cut off.
  queue.End(silent.door());
  EXPECT_FALSE(busy.CutOff());
  EXPECT_FALSE(next.CutOff());
}

TEST(ConnectionQueue, MakesRoomWhenAConnectionEnds) {
  Connection first, second, third;
  ConnectionQueue queue(2);
  queue.Begin(first.door());
  queue.Begin(second.door());
  queue.End(first.door());
  queue.Begin(third.door());
  EXPECT_FALSE(first.CutOff());
  EXPECT_FALSE(second.CutOff());
}

}  // namespace
}  // namespace finetune
