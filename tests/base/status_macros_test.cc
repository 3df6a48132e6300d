#include "server/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace finetune {
namespace {

absl::Status Passed(const absl::Status& status, int& reached) {
  RETURN_IF_ERROR(status);
  ++reached;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Joined(absl::StatusOr<std::string> a, absl::StatusOr<std::string> b) {
  ASSIGN_OR_RETURN(std::string joined, std::move(a));
  ASSIGN_OR_RETURN(const std::string& second, b);
  return joined + second;
}

TEST(StatusMacros, GoOnAfterOkAndReturnAnError) {
  int reached = 0;
  EXPECT_TRUE(Passed(absl::OkStatus(), reached).ok());
  EXPECT_EQ(reached, 1);
  EXPECT_TRUE(absl::IsAborted(Passed(absl::AbortedError("no"), reached)));
  EXPECT_EQ(reached, 1);
}

TEST(StatusMacros, AssignOrReturnTheFirstError) {
  EXPECT_EQ(*Joined("a", "b"), "ab");
  EXPECT_EQ(Joined(absl::NotFoundError("a"), absl::AbortedError("b")).status(),
            absl::NotFoundError("a"));
  EXPECT_EQ(Joined("a", absl::AbortedError("b")).status(), absl::AbortedError("b"));
}

TEST(StatusMacros, AskOnceAndMoveWhatCannotBeCopied) {
  int asked = 0;
  const auto ask = [&]() -> absl::StatusOr<std::unique_ptr<int>> {
    ++asked;
    return std::make_unique<int>(7);
  };
  std::unique_ptr<int> taken;
  const auto take = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(taken, ask());
    return absl::OkStatus();
  };
  EXPECT_TRUE(take().ok());
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(*taken, 7);
}

}  // namespace
}  // namespace finetune
