#include "server/service/calls/arrival_turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace finetune {
namespace {

using ::testing::ElementsAre;

class ArrivalTurnsTest : public ::testing::Test {
 protected:
  class Call final : public ArrivalTurns::Arrival {
   public:
    Call(std::string name, std::vector<std::string>& ran) : name_(std::move(name)), ran_(ran) {}
    void OnTurn() override { ran_.push_back(name_); }

   private:
    const std::string name_;
    std::vector<std::string>& ran_;
  };

  void Arrive(const Sharer* sharer, const std::string& name) {
    calls_.push_back(std::make_unique<Call>(name, ran_));
    ArrivalTurns::RunInTurn(sharer, *calls_.back());
  }

  const Sharer alice_{"alice"}, bob_{"bob"};
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<std::string> ran_;
  ArrivalTurns turns_;
};

TEST_F(ArrivalTurnsTest, RunsACallAtOnceWhereNobodyGathers) {
  Arrive(&alice_, "a");
  EXPECT_THAT(ran_, ElementsAre("a"));
  EXPECT_FALSE(turns_.RunSome(1));
}

TEST_F(ArrivalTurnsTest, CallersTakeTurns) {
  {
    ArrivalTurns::Gathering gathering(turns_);
    for (const char* name : {"a1", "a2", "a3"}) Arrive(&alice_, name);
    Arrive(&bob_, "b1");
    Arrive(nullptr, "n1");
    Arrive(&bob_, "b2");
    EXPECT_EQ(gathering.arrivals(), 6);
  }
  EXPECT_THAT(ran_, ElementsAre());
  EXPECT_FALSE(turns_.RunSome(10));
  EXPECT_THAT(ran_, ElementsAre("a1", "b1", "n1", "a2", "b2", "a3"));
}

TEST_F(ArrivalTurnsTest, WhoComesLaterStandsBehindOthersFirstCallsOnly) {
  {
    ArrivalTurns::Gathering gathering(turns_);
    for (const char* name : {"a1", "a2", "a3"}) Arrive(&alice_, name);
  }
  EXPECT_TRUE(turns_.RunSome(1));
  {
    ArrivalTurns::Gathering gathering(turns_);
    Arrive(&bob_, "b1");
  }
  EXPECT_TRUE(turns_.RunSome(2));
  EXPECT_THAT(ran_, ElementsAre("a1", "a2", "b1"));
  EXPECT_FALSE(turns_.RunSome(1));
  EXPECT_THAT(ran_, ElementsAre("a1", "a2", "b1", "a3"));
}

TEST_F(ArrivalTurnsTest, ACallThatIsAddedWhileOthersRunHasItsTurn) {
  {
    ArrivalTurns::Gathering gathering(turns_);
    Arrive(&alice_, "a1");
  }
  EXPECT_FALSE(turns_.RunSome(2));
  {
    ArrivalTurns::Gathering gathering(turns_);
    Arrive(&alice_, "a2");
  }
  EXPECT_FALSE(turns_.RunSome(2));
  EXPECT_THAT(ran_, ElementsAre("a1", "a2"));
}

TEST_F(ArrivalTurnsTest, ACallerThatCallsAloneIsToldFromSeveral) {
  std::thread([&] {
    Arrive(&alice_, "a1");
    Arrive(&alice_, "a2");
    EXPECT_FALSE(ArrivalTurns::HasSeveralCallers());
    Arrive(nullptr, "n1");
    Arrive(&alice_, "a3");
    EXPECT_TRUE(ArrivalTurns::HasSeveralCallers());
    // A lone flood of a while later.
    Call call("flood", ran_);
    for (int i = 0; i < 1'000'000; ++i) ArrivalTurns::RunInTurn(&alice_, call);
    EXPECT_FALSE(ArrivalTurns::HasSeveralCallers());
  }).join();
}

}  // namespace
}  // namespace finetune
