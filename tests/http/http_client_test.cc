#include "server/http/http_client.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(HttpResponse, TellsTheFirstHeaderOfAName) {
  HttpResponse response;
  response.headers = {{"retry-after", "3"}, {"etag", "a"}, {"etag", "b"}};
  EXPECT_EQ(response.Header("etag"), "a");
  EXPECT_EQ(response.Header("retry-after"), "3");
}

TEST(HttpResponse, HasNoHeaderThatDidNotComeAndNamesAreInLowerCase) {
  HttpResponse response;
  EXPECT_EQ(response.Header("etag"), "");
  response.headers = {{"etag", "a"}};
  EXPECT_EQ(response.Header("eta"), "");
  EXPECT_EQ(response.Header("ETag"), "");
}

}  // namespace
}  // namespace finetune
