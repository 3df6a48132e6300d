#include "server/service/requests/page_token.h"

#include <gtest/gtest.h>

#include "server/base/error.h"

namespace finetune {
namespace {

TEST(PageToken, ComesBackForTheSameQueryOnly) {
  for (const std::string& place : {std::string("x"), std::string(8, '\0'), std::string(500, 'n')}) {
    const std::string token = EncodePageToken("epoch", "query", place);
    auto decoded = DecodePageToken("epoch", "query", token);
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(*decoded, place);
    EXPECT_EQ(ReasonOf(DecodePageToken("epoch", "other", token).status()),
              pb::ErrorReason::PAGE_TOKEN_INVALID);
    EXPECT_EQ(ReasonOf(DecodePageToken("other", "query", token).status()),
              pb::ErrorReason::PAGE_TOKEN_INVALID);
  }
}

TEST(PageToken, NoChangedTokenIsTaken) {
  const std::string token = EncodePageToken("epoch", "query", "a place");
  for (size_t i = 0; i < token.size(); ++i) {
    for (char c : {'A', 'B', 'z', '0', '-', '_', '=', ' '}) {
      std::string changed = token;
      if (changed[i] == c) continue;
      changed[i] = c;
      EXPECT_FALSE(DecodePageToken("epoch", "query", changed).ok()) << changed;
    }
    EXPECT_FALSE(DecodePageToken("epoch", "query", token.substr(0, i)).ok());
  }
  EXPECT_FALSE(DecodePageToken("epoch", "query", token + "A").ok());
  EXPECT_FALSE(DecodePageToken("epoch", "query", std::string(100'000, 'A')).ok());
}

// A place and a query that were joined otherwise are another token.
TEST(PageToken, SignsThePlaceApartFromTheQuery) {
  const std::string token = EncodePageToken("epoch", "b\nquery", "a");
  EXPECT_TRUE(DecodePageToken("epoch", "b\nquery", token).ok());
  EXPECT_NE(EncodePageToken("epoch", "query", "a\nb").substr(0, 16), token.substr(0, 16));
}

}  // namespace
}  // namespace finetune
