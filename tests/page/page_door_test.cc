#include "server/page/page_door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/jobs/watching/watch_world.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string HeaderOf(const WebReply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.headers)
    if (key == name) return value;
  return "";
}

class PageDoorTest : public testing::Test {
 protected:
  WebReply Get(std::string_view path, std::vector<HttpHead::Field> fields = {},
               std::string_view method = "GET") {
    head_.fields = std::move(fields);
    const size_t question = path.find('?');
    return door_.Take({.method = method,
                       .path = path.substr(0, question),
                       .query = question == path.npos ? "" : path.substr(question + 1),
                       .head = &head_});
  }

  WatchMemoryStore store_;
  ManualClock clock_;
  WatchWorld world_{store_, clock_};
  HttpHead head_;
  pb::GetSpendingResponse spending_;
  PageDoor door_{{.hosts = {"gateway.example"}, .most_pages = 2},
                 {.hub = world_.hub,
                  .clock = clock_,
                  .status = [] { return pb::GatewayStatus(); },
                  .spending = [this] { return spending_; }},
                 world_.catalog};
};

TEST_F(PageDoorTest, ShowsItsFilesWithTheirTypesAndTheStrictestPolicy) {
  const WebReply page = Get("/");
  EXPECT_EQ(page.code, 200);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(page.body, HasSubstr("<!doctype html>"));
  EXPECT_THAT(HeaderOf(page, "Content-Security-Policy"),
              AllOf(HasSubstr("default-src 'none'"), HasSubstr("frame-ancestors 'none'"),
                    Not(HasSubstr("unsafe")), Not(HasSubstr("http")), Not(HasSubstr("*"))));
  EXPECT_EQ(HeaderOf(page, "Cross-Origin-Resource-Policy"), "same-origin");
  EXPECT_EQ(HeaderOf(page, "Access-Control-Allow-Origin"), "");
  EXPECT_EQ(Get("/page/page.css").content_type, "text/css; charset=utf-8");
  EXPECT_EQ(Get("/page/../page.css").code, 404);
  EXPECT_EQ(Get("/page/index.html").code, 404);
  EXPECT_THAT(HeaderOf(Get("/nothing"), "Content-Security-Policy"), HasSubstr("'none'"));
}

TEST_F(PageDoorTest, ShowsWhatWasSpent) {
  EXPECT_EQ(Get("/page/spending").body, "{}");
  pb::SpendingRow& row = *spending_.add_rows();
  row.set_group("art");
  row.set_jobs(3);
  const WebReply reply = Get("/page/spending");
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_THAT(reply.body, AllOf(HasSubstr("\"group\":\"art\""), HasSubstr("\"jobs\":\"3\"")));
  EXPECT_EQ(Get("/page/spending", {{"sec-fetch-site", "cross-site"}}).code, 403);
}

// What no file of the page may have, or it would not work under its policy.
TEST_F(PageDoorTest, HasNothingInLineAndNothingOfOthers) {
  const std::string page = Get("/").body;
  EXPECT_THAT(page, AllOf(Not(HasSubstr("style=")), Not(HasSubstr("<style")),
                          Not(HasSubstr("onclick")), Not(HasSubstr("http"))));
  for (size_t at = page.find("<script"); at != page.npos; at = page.find("<script", at + 1))
    EXPECT_THAT(page.substr(at, page.find('>', at) - at), HasSubstr(" src="));
}

TEST_F(PageDoorTest, SendsAFileOnceToWhoKeepsIt) {
  const std::string tag = HeaderOf(Get("/"), "ETag");
  EXPECT_EQ(tag.size(), 26u);
  const WebReply again = Get("/", {{"if-none-match", tag}});
  EXPECT_EQ(again.code, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(again.cache_control, "no-cache");
  EXPECT_EQ(HeaderOf(again, "ETag"), tag);
  EXPECT_EQ(Get("/", {{"if-none-match", "\"other\""}}).code, 200);
}

TEST_F(PageDoorTest, OnlyLooks) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"})
    EXPECT_EQ(Get("/page/events", {}, method).code, 405) << method;
  EXPECT_EQ(Get("/page/events", {}, "HEAD").stream, nullptr);
  EXPECT_EQ(door_.open_pages(), 0u);
}

TEST_F(PageDoorTest, ShowsAJobWithItsHistory) {
  world_.Put("a", pb::FineTune::TRAINING);
  const WebReply job = Get("/page/jobs/a");
  EXPECT_EQ(job.content_type, "application/json");
  EXPECT_THAT(job.body, AllOf(HasSubstr("\"name\":\"fineTunes/a\""),
                              HasSubstr("\"transitions\":[{\"state\":\"TRAINING\"")));
  EXPECT_EQ(Get("/page/jobs/b").code, 404);
  EXPECT_EQ(Get("/page/jobs/").code, 404);
}

TEST_F(PageDoorTest, IsKnownByNamesAlone_ThatNobodyElseCanHave) {
  for (const char* host :
       {"localhost:9090", "127.0.0.1:9090", "[::1]:9090", "10.1.2.3", "finetune-gateway:9090",
        "LOCALHOST", "gw.localhost:1", "", "Gateway.Example:443"})
    EXPECT_EQ(Get("/", {{"host", host}}).code, 200) << host;
  for (const char* host : {"evil.example", "127.0.0.1.evil.example:9090", "gateway.example.org",
                           "1.2.3", "localhost.evil.example", "a.b"})
    EXPECT_EQ(Get("/page/events", {{"host", host}}).code, 421) << host;
}

TEST_F(PageDoorTest, IsNotReadByOtherSites) {
  for (const char* site : {"cross-site", "same-site"}) {
    EXPECT_EQ(Get("/page/events", {{"sec-fetch-site", site}}).code, 403);
    EXPECT_EQ(Get("/page/jobs/a", {{"sec-fetch-site", site}}).code, 403);
    EXPECT_EQ(Get("/", {{"sec-fetch-site", site}, {"sec-fetch-mode", "no-cors"}}).code, 403);
    // A link.
    EXPECT_EQ(Get("/", {{"sec-fetch-site", site}, {"sec-fetch-mode", "navigate"}}).code, 200);
  }
  EXPECT_EQ(Get("/", {{"sec-fetch-site", "same-origin"}}).code, 200);
  EXPECT_EQ(Get("/", {{"sec-fetch-site", "none"}}).code, 200);
}

TEST_F(PageDoorTest, BoundsHowManyAreOpen) {
  const WebReply first = Get("/page/events");
  WebReply second = Get("/page/events");
  ASSERT_NE(second.stream, nullptr);
  const WebReply third = Get("/page/events");
  EXPECT_EQ(third.code, 503);
  EXPECT_THAT(third.body, HasSubstr("as may be: 2"));
  EXPECT_EQ(third.stream, nullptr);
  // One whose connection broke before its stream began is open no more.
  second.stream = nullptr;
  EXPECT_NE(Get("/page/events").stream, nullptr);
  EXPECT_EQ(first.content_type, "text/event-stream");
}

}  // namespace
}  // namespace finetune
