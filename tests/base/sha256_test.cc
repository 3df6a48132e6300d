#include "server/base/sha256.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"

namespace finetune {
namespace {

TEST(Sha256, IsThatOfFips180) {
  EXPECT_EQ(absl::BytesToHexString(Sha256Of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(absl::BytesToHexString(Sha256Of("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, TakesPiecesAndCanBeCopiedInBetween) {
  Sha256 digest;
  digest.Update("a");
  Sha256 other = digest;
  digest.Update("bc");
  other.Update("x");
  EXPECT_EQ(digest.Finish(), Sha256Of("abc"));
  EXPECT_EQ(other.Finish(), Sha256Of("ax"));
}

}  // namespace
}  // namespace finetune
