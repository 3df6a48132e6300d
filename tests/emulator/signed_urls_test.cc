#include "tests/emulator/signed_urls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace finetune::emulator {
namespace {

using ::testing::HasSubstr;
using Verdict = SignedUrls::Verdict;

constexpr char kUrl[] = "http://segmind/gcs/segmind-finetuned-models/id-1.safetensors";

Request RequestFor(const std::string& url) {
  Request request;
  request.method = "GET";
  const size_t query = url.find('?');
  request.path = url.substr(14, query == std::string::npos ? query : query - 14);
  if (query != std::string::npos) {
    request.query = *ParseForm("application/x-www-form-urlencoded", url.substr(query + 1));
  }
  return request;
}

TEST(SignedUrls, OpenTheirFileInEachStyle) {
  const SignedUrls urls;
  for (const std::string& style : SigningStyles()) {
    if (style.empty()) continue;
    const std::string url = urls.Sign(kUrl, style, 60);
    EXPECT_THAT(url, testing::StartsWith(std::string(kUrl) + "?")) << style;
    EXPECT_EQ(urls.Check(RequestFor(url)), Verdict::kGood) << url;
    Request other = RequestFor(url);
    other.path += "x";
    EXPECT_EQ(urls.Check(other), Verdict::kWrong) << style;
    EXPECT_EQ(urls.Check(RequestFor(urls.Sign(kUrl, style, -60))), Verdict::kExpired) << style;
    EXPECT_EQ(SignedUrls().Check(RequestFor(url)), Verdict::kWrong) << style;
  }
  EXPECT_EQ(urls.Check(RequestFor(kUrl)), Verdict::kUnsigned);
}

TEST(SignedUrls, AreOthersEachTime) {
  const SignedUrls urls;
  for (const std::string& style : SigningStyles()) {
    EXPECT_NE(urls.Sign(kUrl, style, 60), urls.Sign(kUrl, style, 60)) << style;
  }
}

TEST(SignedUrls, LookLikeTheirVendors) {
  const SignedUrls urls;
  EXPECT_THAT(urls.Sign(kUrl, "s3", 60),
              testing::AllOf(HasSubstr("X-Amz-Signature="), HasSubstr("&X-Amz-Expires=60")));
  EXPECT_THAT(urls.Sign(kUrl, "gcs", 60), HasSubstr("&X-Goog-Signature="));
  EXPECT_THAT(urls.Sign(kUrl, "azure", 60), testing::AllOf(HasSubstr("?sv="), HasSubstr("&sig=")));
  EXPECT_THAT(urls.Sign(kUrl, "cloudfront", 60),
              testing::AllOf(HasSubstr("&Signature="), HasSubstr("&Key-Pair-Id=")));
}

TEST(SignedUrls, SignWhateverOfTheStorageStandsInAJob) {
  const SignedUrls urls;
  const std::string text = urls.SignAll(
      R"([{"a":"http://segmind/gcs/x","b":{"c":["http://segmind/storage/y"]},"d":"http://else/gcs/x"}])",
      "http://segmind", "s3", 60);
  EXPECT_THAT(text, HasSubstr(R"("a":"http://segmind/gcs/x?X-Amz-)"));
  EXPECT_THAT(text, HasSubstr(R"(["http://segmind/storage/y?X-Amz-)"));
  EXPECT_THAT(text, HasSubstr(R"("d":"http://else/gcs/x")"));
}

}  // namespace
}  // namespace finetune::emulator
