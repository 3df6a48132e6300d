#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/store/ledger.h"
#include "server/store/store.h"

namespace finetune {

inline SpendingKey Key(Quarter quarter, const std::string& caller) {
  return {.quarter = quarter, .caller = caller, .team = "art", .model = "FLUX", .unit = "credits"};
}

inline TotalKey Total(const std::string& subject, Quarter start, Quarter end) {
  return {.subject = subject, .measure = UnitMeasure("credits"), .start = start, .end = end};
}

// What the ledger's tables do alike, in a file and in a database: a fixture with Write, Read and
// Totals registers these as LedgerCases.
template <typename Fixture>
class LedgerCases : public Fixture {};
TYPED_TEST_SUITE_P(LedgerCases);

TYPED_TEST_P(LedgerCases, AddsToRowsAndLeavesOutThoseWithoutJobs) {
  this->Write({.spending = {{Key(1, "alice"), {2, 10}}, {Key(1, "bob"), {1, 4}}}});
  this->Write({.spending = {{Key(1, "alice"), {-1, -3}}, {Key(1, "bob"), {-1, -4}}}});
  EXPECT_THAT(this->Read({}),
              ::testing::ElementsAre(::testing::Pair(Key(1, "alice"), SpendingCount{1, 7})));
  // A row that was forgotten before has nothing to take from.
  this->Write({.spending = {{Key(0, "carol"), {-1, -4}}}});
  EXPECT_THAT(this->Read({}), ::testing::SizeIs(1));
}

TYPED_TEST_P(LedgerCases, ReadsOneCallersRowsOfSomeQuartersPageByPage) {
  StoreBatch batch;
  for (Quarter quarter : {-1, 0, 1, 2}) {
    for (const char* caller : {"alice", "bob"}) batch.spending[Key(quarter, caller)] = {1, 1};
  }
  this->Write(batch);
  EXPECT_THAT(this->Read({.start = -1, .end = 2}), ::testing::SizeIs(6));
  const SpendingRows first = this->Read({.start = 0, .end = 2, .caller = "bob", .limit = 1});
  EXPECT_THAT(first, ::testing::ElementsAre(::testing::Pair(Key(0, "bob"), SpendingCount{1, 1})));
  EXPECT_THAT(this->Read({.start = 0, .end = 2, .caller = "bob", .after = first.rbegin()->first}),
              ::testing::ElementsAre(::testing::Pair(Key(1, "bob"), SpendingCount{1, 1})));
}

TYPED_TEST_P(LedgerCases, TotalsFollowTheRowsOfTheirTimeAndSubject) {
  this->Write({.new_totals = {{Total("caller:alice", 0, 10), 100}, {Total("team:art", 0, 10), 7}}});
  // The last quarter of the time, the first one after it, and another caller's.
  this->Write(
      {.spending = {
           {Key(9, "alice"), {1, 5}}, {Key(10, "alice"), {1, 50}}, {Key(3, "bob"), {1, 500}}}});
  EXPECT_THAT(this->Totals({Total("caller:alice", 0, 10), Total("caller:alice", 0, 11),
                            Total("team:art", 0, 10)}),
              ::testing::ElementsAre(105, std::nullopt, 512));
}

TYPED_TEST_P(LedgerCases, ForgetsRowsAndTotalsThatEndedBefore) {
  this->Write({.new_totals = {{Total("account", 0, 5), 1}, {Total("account", 0, 6), 2}},
               .spending = {{Key(4, "alice"), {1, 1}}, {Key(5, "alice"), {1, 1}}}});
  this->Write({.forget_spending_before = StartOf(5)});
  EXPECT_THAT(this->Read({}),
              ::testing::ElementsAre(::testing::Pair(Key(5, "alice"), SpendingCount{1, 1})));
  EXPECT_THAT(this->Totals({Total("account", 0, 5), Total("account", 0, 6)}),
              ::testing::ElementsAre(2, 4));
  this->Write({.forget_spending_before = StartOf(7)});
  EXPECT_THAT(this->Read({}), ::testing::IsEmpty());
  EXPECT_THAT(this->Totals({Total("account", 0, 5), Total("account", 0, 6)}),
              ::testing::ElementsAre(std::nullopt, std::nullopt));
}

REGISTER_TYPED_TEST_SUITE_P(LedgerCases, AddsToRowsAndLeavesOutThoseWithoutJobs,
                            ReadsOneCallersRowsOfSomeQuartersPageByPage,
                            TotalsFollowTheRowsOfTheirTimeAndSubject,
                            ForgetsRowsAndTotalsThatEndedBefore);

}  // namespace finetune
