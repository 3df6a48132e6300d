#include "client/cpp/session.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(Session, KeepsTheNewestToken) {
  Session session;
  EXPECT_EQ(session.token(), "");
  session.Take("9.a", false);
  session.Take("10.b", false);
  session.Take("9.c", false);
  EXPECT_EQ(session.token(), "10.b") << "as numbers, and whatever came last";
  session.Take("10.d", false);
  EXPECT_EQ(session.token(), "10.d");
}

TEST(Session, BeginsAnewWhereWhatItStoodForWasLost) {
  Session session;
  session.Take("10.b", false);
  session.Take("4.x", true);
  EXPECT_EQ(session.token(), "4.x");
  session.Take("no number", true);
  EXPECT_EQ(session.token(), "4.x");
}

}  // namespace
}  // namespace finetune
