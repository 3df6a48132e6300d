#include "server/jobs/filter/filter_node.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

FilterComparison On(const char* field, FilterOperator op, std::string text) {
  FilterComparison comparison;
  comparison.field = FindFilterField(field);
  comparison.op = op;
  comparison.text = std::move(text);
  return comparison;
}
FilterNode::Ptr Named(const std::string& text) {
  return FilterNode::Compare(On("display_name", FilterOperator::kEqual, text));
}

FineTuneVersion Job(const std::string& name) {
  FineTuneVersion job;
  job.display_name = name;
  job.state = pb::FineTune::TRAINING;
  job.labels = {{"team", "vision"}};
  return job;
}

TEST(FilterNode, JoinsAreTheSameInAnyOrderAndWithRepetitions) {
  const auto a = Named("a"), b = Named("b"), c = Named("c");
  const auto all = FilterNode::All({a, b, c});
  EXPECT_EQ(FilterNode::All({c, FilterNode::All({b, a, b})})->canonical, all->canonical);
  EXPECT_EQ(all->children.size(), 3u);
  EXPECT_NE(FilterNode::Any({a, b, c})->canonical, all->canonical);
  EXPECT_EQ(FilterNode::Any({FilterNode::Any({c, a}), b})->canonical,
            FilterNode::Any({a, b, c})->canonical);
}

TEST(FilterNode, AJoinOfOneIsThatOneAndOfNoneIsNone) {
  const auto a = Named("a");
  EXPECT_EQ(FilterNode::All({a}), a);
  EXPECT_EQ(FilterNode::Any({a, Named("a")})->canonical, a->canonical);
  EXPECT_EQ(FilterNode::All({}), nullptr);
  EXPECT_EQ(FilterNode::Any({}), nullptr);
}

TEST(FilterNode, TwiceNotIsNothing) {
  const auto a = Named("a");
  EXPECT_EQ(FilterNode::Not(FilterNode::Not(a)), a);
  EXPECT_FALSE(FilterNode::Not(a)->Matches(Job("a")));
  EXPECT_TRUE(FilterNode::Not(a)->Matches(Job("b")));
}

TEST(FilterNode, MatchesAsItsChildrenDo) {
  const auto all = FilterNode::All({Named("a"), FilterNode::Not(Named("b"))});
  EXPECT_TRUE(all->Matches(Job("a")));
  EXPECT_FALSE(all->Matches(Job("b")));
  const auto any = FilterNode::Any({Named("a"), Named("b")});
  EXPECT_TRUE(any->Matches(Job("b")));
  EXPECT_FALSE(any->Matches(Job("c")));
}

TEST(FilterComparison, WhatIsWrittenOutKeepsStarsAndQuotesApart) {
  FilterComparison wild = On("display_name", FilterOperator::kEqual, "a");
  wild.any_after = true;
  const FilterComparison star = On("display_name", FilterOperator::kEqual, "a*");
  EXPECT_NE(wild.Canonical(), star.Canonical());
  EXPECT_TRUE(wild.Matches(Job("abc")));
  EXPECT_FALSE(star.Matches(Job("abc")));
  EXPECT_TRUE(star.Matches(Job("a*")));
  EXPECT_NE(On("display_name", FilterOperator::kEqual, "a\" AND \"b").Canonical(),
            FilterNode::All({Named("a"), Named("b")})->canonical);
}

TEST(FilterComparison, ALabelThatIsNotThereIsEqualToNothing) {
  FilterComparison label = On("labels", FilterOperator::kEqual, "");
  label.label = "missing";
  EXPECT_FALSE(label.Matches(Job("a")));
  for (const auto op :
       {FilterOperator::kLess, FilterOperator::kGreaterEqual, FilterOperator::kHas}) {
    label.op = op;
    EXPECT_FALSE(label.Matches(Job("a"))) << static_cast<int>(op);
  }
  label.op = FilterOperator::kNotEqual;
  EXPECT_TRUE(label.Matches(Job("a")));
}

TEST(FilterComparison, IsIndexedOnlyWhereItIsAnEquality) {
  EXPECT_TRUE(On("display_name", FilterOperator::kEqual, "a").IndexKey());
  EXPECT_FALSE(On("display_name", FilterOperator::kHas, "a").IndexKey());
  EXPECT_FALSE(On("display_name", FilterOperator::kNotEqual, "a").IndexKey());
  EXPECT_FALSE(On("create_time", FilterOperator::kEqual, "").IndexKey());
  FilterComparison wild = On("display_name", FilterOperator::kEqual, "a");
  wild.any_before = true;
  EXPECT_FALSE(wild.IndexKey());
  EXPECT_FALSE(FilterComparison().IndexKey());
  // `state:X` is `state=X`.
  EXPECT_EQ(On("state", FilterOperator::kHas, "").IndexKey(),
            On("state", FilterOperator::kEqual, "").IndexKey());
}

TEST(FilterComparison, ItsIndexKeyIsOneOfTheJobsThatItMatches) {
  for (const FilterField& field : FilterFields()) {
    const auto value = FilterIndexValue(field, Job("a"));
    EXPECT_EQ(value.has_value(),
              field.kind == FilterField::Kind::kText || field.kind == FilterField::Kind::kEnum);
    if (!value) continue;
    FilterComparison equal = On(std::string(field.name).c_str(), FilterOperator::kEqual, *value);
    if (field.kind == FilterField::Kind::kEnum) equal.number = std::stoi(*value);
    EXPECT_TRUE(equal.Matches(Job("a"))) << field.name;
    EXPECT_EQ(equal.IndexKey(), FilterIndexKey(field, "", *value)) << field.name;
  }
}

TEST(FilterFields, AreFoundByTheContractsNamesAlone) {
  for (const char* name : {"", "*", "State", "labels.team", "parameters", "name"})
    EXPECT_EQ(FindFilterField(name), nullptr) << name;
  for (const FilterField& field : FilterFields()) EXPECT_EQ(FindFilterField(field.name), &field);
}

}  // namespace
}  // namespace finetune
