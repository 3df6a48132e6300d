#include "server/service/requests/violations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/service/requests/bad_fields.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;

TEST(Violations, NothingWrongIsOk) {
  const Violations none;
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(none.ToStatus().ok());
}

TEST(Violations, NamesEachFieldInOrderAndTheFirstInTheMessage) {
  Violations violations;
  violations.Add("b", "is wrong");
  violations.Add("a", "is too long");
  violations.Add("b", "is wrong twice");
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::INVALID_FIELD);
  EXPECT_EQ(status.message(), "b: is wrong (and 2 more)");
  EXPECT_THAT(FieldsOf(status), ElementsAre("b", "a", "b"));
}

TEST(Violations, OfOneFieldAreItAlone) {
  const absl::Status status = InvalidField("page_size", "must not be negative");
  EXPECT_EQ(status.message(), "page_size: must not be negative");
  EXPECT_THAT(FieldsOf(status), ElementsAre("page_size"));
}

}  // namespace
}  // namespace finetune
