#include "server/base/secret.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string_view>
#include <type_traits>

namespace finetune {
namespace {

template <typename T, typename = void>
struct IsPrintable : std::false_type {};
template <typename T>
struct IsPrintable<T, std::void_t<decltype(std::declval<std::ostream&>() << std::declval<T>())>>
    : std::true_type {};

TEST(Secret, CannotBePrintedOrConverted) {
  EXPECT_FALSE(IsPrintable<Secret>::value);
  EXPECT_FALSE((std::is_convertible_v<Secret, std::string>));
  EXPECT_FALSE((std::is_convertible_v<std::string, Secret>));
}

TEST(Secret, EqualsOnlyTheSameText) {
  const Secret secret("key");
  EXPECT_TRUE(secret.Equals("key"));
  EXPECT_FALSE(secret.Equals("kez"));
  EXPECT_FALSE(secret.Equals("keys"));
  EXPECT_FALSE(secret.Equals(""));
  EXPECT_TRUE(secret == Secret("key"));
  EXPECT_TRUE(Secret() == Secret(""));
}

TEST(Secret, CopiesAndMovesLikeAString) {
  Secret first(std::string(100, 'k'));
  Secret copy = first;
  Secret moved = std::move(first);
  EXPECT_TRUE(copy == moved);
  copy = Secret("other");
  EXPECT_EQ(copy.Reveal(), "other");
  EXPECT_EQ(moved.Reveal(), std::string(100, 'k'));
}

// Short texts are kept within the object, where a test can look.
bool Holds(const Secret& secret, std::string_view text) {
  return std::string_view(reinterpret_cast<const char*>(&secret), sizeof(secret)).find(text) !=
         std::string_view::npos;
}

TEST(Secret, IsWipedWhereItIsMovedFromOrAssignedOver) {
  Secret first("key-abc");
  ASSERT_TRUE(Holds(first, "key-abc"));
  Secret second = std::move(first);
  EXPECT_FALSE(Holds(first, "ey-abc"));
  Secret third;
  third = std::move(second);
  EXPECT_FALSE(Holds(second, "ey-abc"));
  EXPECT_EQ(third.Reveal(), "key-abc");
  third = Secret("x");
  EXPECT_FALSE(Holds(third, "ey-abc"));
  const Secret other("y");
  third = other;
  third = *&third;
  EXPECT_EQ(third.Reveal(), "y");
}

}  // namespace
}  // namespace finetune
