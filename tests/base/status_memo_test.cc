#include "server/base/status_memo.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

class StatusMemoTest : public ::testing::Test {
 protected:
  std::string Of(const absl::Status& status) {
    return memo_.Of(status, [this](const absl::Status& made_of) {
      ++made_;
      return std::string(made_of.message());
    });
  }

  StatusMemo<std::string> memo_;
  int made_ = 0;
};

TEST_F(StatusMemoTest, MakesItOnceForCopies) {
  const absl::Status status = absl::ResourceExhaustedError("too much");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Of(absl::Status(status)), "too much");
  EXPECT_EQ(made_, 1);
}

TEST_F(StatusMemoTest, TellsApartWhatDiffersInAnything) {
  absl::Status one = absl::ResourceExhaustedError("too much");
  absl::Status other = one;
  other.SetPayload("url", absl::Cord("x"));
  Of(one);
  Of(other);
  Of(absl::UnavailableError("too much"));
  EXPECT_EQ(Of(absl::ResourceExhaustedError("far too much")), "far too much");
  EXPECT_EQ(made_, 4);
}

TEST_F(StatusMemoTest, RemembersAFew) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Of(absl::UnknownError(absl::StrCat(i))), absl::StrCat(i));
  EXPECT_EQ(Of(absl::UnknownError("99")), "99");
  EXPECT_EQ(Of(absl::UnknownError("95")), "95");
  EXPECT_EQ(made_, 100);
  Of(absl::UnknownError("0"));
  EXPECT_EQ(made_, 101);
}

TEST_F(StatusMemoTest, OkIsNothingThatItKnowsFromTheStart) {
  EXPECT_EQ(Of(absl::OkStatus()), "");
  EXPECT_EQ(made_, 1);
}

}  // namespace
}  // namespace finetune
