#include "server/base/bounded_labels.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

BoundedLabels<std::string> Named(size_t most) {
  return BoundedLabels<std::string>(most, [](const std::string& label) { return label; });
}

TEST(BoundedLabels, GivesEachLabelItsOwnUntilItIsFullAndThenTheOther) {
  BoundedLabels<std::string> labels = Named(3);
  EXPECT_EQ(labels.Of("a"), "a");
  EXPECT_EQ(labels.Of("b"), "b");
  EXPECT_EQ(labels.Of("c"), "other");
  EXPECT_EQ(labels.Of("a"), "a");
  EXPECT_EQ(&labels.Of("c"), &labels.Of("other"));
}

TEST(BoundedLabels, KeepsNoLabelThatIsVeryLong) {
  BoundedLabels<std::string> labels = Named(3);
  EXPECT_EQ(labels.Of(std::string(128, 'x')), std::string(128, 'x'));
  EXPECT_EQ(labels.Of(std::string(129, 'x')), "other");
}

TEST(BoundedLabels, VisitsEachOnceAndKeepsItsPlace) {
  BoundedLabels<std::string> labels = Named(100);
  const std::string* const first = &labels.Of("0");
  for (int i = 1; i < 50; ++i) labels.Of(std::to_string(i));
  EXPECT_EQ(first, &labels.Of("0"));
  int visited = 0;
  labels.ForEach([&](const std::string&) { ++visited; });
  EXPECT_EQ(visited, 51);
}

}  // namespace
}  // namespace finetune
