#include "server/http/curl_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/clock.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using std::string_view_literals::operator""sv;

Url UrlOf(std::string_view text) { return Url::Parse(text).value(); }

std::vector<std::string> LinesOf(const CurlHeaders& headers) {
  std::vector<std::string> lines;
  for (const curl_slist* header = headers.list(); header != nullptr; header = header->next)
    lines.emplace_back(header->data);
  return lines;
}

TEST(CurlHeaders, AreLinesAsCurlWantsThem) {
  CurlHeaders headers;
  EXPECT_THAT(LinesOf(headers), IsEmpty());
  ASSERT_TRUE(headers.Add("x-api-key", "SG_key").ok());
  ASSERT_TRUE(headers.Add("x-empty", "").ok());
  ASSERT_TRUE(headers.Suppress("Expect").ok());
  EXPECT_THAT(LinesOf(headers), ElementsAre("x-api-key: SG_key", "x-empty;", "Expect:"));
}

TEST(CurlHeaders, TakeNothingThatWouldBeginAnotherLine) {
  CurlHeaders headers;
  for (const std::string_view bad : {"a\r\nx: y"sv, "a\nb"sv, "a\rb"sv, "a\0b"sv}) {
    EXPECT_EQ(headers.Add("name", bad).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(headers.Add(bad, "value").code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_THAT(LinesOf(headers), IsEmpty());
}

TEST(CurlSetup, AHandleTooLateIsRefused) {
  ASSERT_TRUE(InitCurl().ok());
  const Url url = UrlOf("https://api.segmind.com/v1");
  EXPECT_EQ(MakeCurlHandle({}, url, "", SteadyNow()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(MakeCurlHandle({}, url, "", absl::InfiniteFuture()).ok());
}

TEST(CurlSetup, NamesTheProxyWithoutItsPassword) {
  const Url url = UrlOf("https://api.segmind.com/v1?secret=x");
  EXPECT_EQ(WayTo(url, ""), "api.segmind.com:443");
  EXPECT_EQ(WayTo(url, "proxy:3128"), "api.segmind.com:443 through the proxy proxy:3128");
  EXPECT_EQ(WayTo(url, "http://me:hunter2@proxy:3128/"),
            "api.segmind.com:443 through the proxy proxy:3128");
  EXPECT_EQ(WayTo(url, "http://me:hunt@er2@proxy:3128"),
            "api.segmind.com:443 through the proxy proxy:3128");
}

TEST(CurlSetup, LooksAtTheEnvironmentOnlyIfItIsTo) {
  EXPECT_EQ(ProxyOf({.use_environment_proxy = false}, UrlOf("http://api.segmind.com/v1")), "");
}

TEST(CurlSetup, AFailureSaysWhere) {
  ASSERT_TRUE(InitCurl().ok());
  const absl::Time later = SteadyNow() + absl::Minutes(1);
  const auto handle = MakeCurlHandle({}, UrlOf("https://api.segmind.com/v1"), "", later);
  ASSERT_TRUE(handle.ok());
  const absl::Status failed =
      StatusOfExchange(CURLE_COULDNT_CONNECT, later, "api.segmind.com:443", handle->get());
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(failed.message()), testing::StartsWith("api.segmind.com:443: "));
  const absl::Status distrusted =
      StatusOfExchange(CURLE_PEER_FAILED_VERIFICATION, later, "api.segmind.com:443", handle->get());
  EXPECT_EQ(distrusted.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(distrusted.message(),
            "api.segmind.com:443: its certificate is not trusted: it is for another host");
}

}  // namespace
}  // namespace finetune
