#include "server/segmind/upstream_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kUrl[] = "https://api.segmind.com/finetune/request/list";
constexpr char kTwo[] = R"([{"id":"a"},{"id":"b"}])";
constexpr char kNone[] = "[]";

HttpResponse PageOf(std::string body,
                    std::vector<std::pair<std::string, std::string>> headers = {}) {
  return {200, std::move(headers), std::move(body)};
}

// `{"finetunes": JOBS, MEMBERS}`.
std::string Wrapped(const std::string& members, const std::string& jobs = kTwo) {
  return R"({"finetunes":)" + jobs + (members.empty() ? "" : ",") + members + "}";
}

UpstreamPage Page(const std::string& body) {
  JsonParser parser;
  absl::StatusOr<UpstreamPage> page = ReadUpstreamPage(body, parser);
  EXPECT_TRUE(page.ok()) << page.status() << body;
  return page.ok() ? *page : UpstreamPage();
}

TEST(UpstreamPage, IsWholeWhereNothingSaysOtherwise) {
  for (const std::string& body :
       {std::string(kTwo), std::string("null"), Wrapped(""), Wrapped(R"("total":2,"count":"2")"),
        Wrapped(R"("has_more":false,"next":null,"next_cursor":"","page":1,"total_pages":1)"),
        Wrapped(R"("pagination":{"next":null,"total":2},"links":{"self":"/x","next":""})"),
        Wrapped(R"("offset":0,"limit":50,"total":2)"), Wrapped(R"("next_offset":0)"),
        Wrapped(R"("limit":3)"), Wrapped(R"("limit":2,"next":null)"),
        Wrapped(R"("per_page":2,"has_more":false)"), Wrapped(R"("limit":2,"total":2)"),
        Wrapped(R"("error":null,"errors":[],"success":true,"code":200)"),
        Wrapped(R"("error":"","ok":1,"status":"success","message":"fine")"),
        Wrapped(R"("total":{"value":7},"status":"ok","nextday":"Monday","remaining":12)"),
        Wrapped(R"("total":0)", kNone)}) {
    const UpstreamPage page = Page(body);
    EXPECT_EQ(page.more, "") << body;
    EXPECT_EQ(page.next, "") << body;
  }
}

TEST(UpstreamPage, MayBeAllOrNotWhereItIsAsLongAsAPageMayBe) {
  for (const char* members :
       {R"("limit":2)", R"("perPage":"2")", R"("pagination":{"page_size":2})"})
    EXPECT_THAT(Page(Wrapped(members)).more, HasSubstr("as many as a page may")) << members;
  EXPECT_EQ(Page(Wrapped(R"("limit":2,"page":1)")).next, "?page=2");
  EXPECT_EQ(Page(Wrapped(R"("limit":2,"offset":0)")).next, "?offset=2");
}

TEST(UpstreamPage, ThatSaysThatItWentWrongIsNotAllThereIs) {
  for (const char* members :
       {R"("success":false)", R"("ok":"false","message":"timeout")", R"("error":"try later")",
        R"("errors":[{"message":"no"}])", R"("status":"error")", R"("status":503)",
        R"("statusCode":"500")", R"("error":{"code":7})"}) {
    EXPECT_THAT(Page(Wrapped(members)).more, HasSubstr("went wrong")) << members;
    JsonParser parser;
    const auto none = ReadUpstreamPage(Wrapped(members, kNone), parser);
    EXPECT_EQ(ReasonOf(none.status()), pb::ErrorReason::UPSTREAM_MALFORMED) << members;
  }
}

TEST(UpstreamPage, SaysThatThereIsMoreAndHowToAskForIt) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"("has_more":true)", ""},
      {R"("hasMore":"true")", ""},
      {R"("truncated":true)", ""},
      {R"("next":"https://api.segmind.com/x?page=2")", "https://api.segmind.com/x?page=2"},
      {R"("next":"/finetune/request/list?page=2")", "/finetune/request/list?page=2"},
      {R"("next":2)", "?page=2"},
      {R"("next":"a b/c")", "?cursor=a%20b%2fc"},
      {R"("next":true)", ""},
      {R"("next":{"href":"?p=2"})", "?p=2"},
      {R"("next_page":"3")", "?page=3"},
      {R"("next_cursor":"xyz")", "?cursor=xyz"},
      {R"("cursor":"xyz")", "?cursor=xyz"},
      {R"("cursor":"this","next_cursor":"that")", "?cursor=that"},
      {R"("next_cursor":"that","cursor":"this")", "?cursor=that"},
      {R"("nextPageToken":"t")", "?pageToken=t"},
      {R"("next_page_token":"t")", "?page_token=t"},
      {R"("LastEvaluatedKey":{"id":{"S":"b"}})", ""},
      {R"("page":1,"total_pages":3)", "?page=2"},
      {R"("pagination":{"page":"2","pages":"3"})", "?page=3"},
      {R"("meta":{"pagination":{"has_next":true,"current_page":4}})", "?page=5"},
      {R"("offset":10,"total":13)", "?offset=12"},
      {R"("total":5)", ""},
      {R"("total_count":"5","page":1)", "?page=2"},
      {R"("count":3)", ""},
      {R"("links":{"next":"/l?after=b"})", "/l?after=b"},
  };
  for (const auto& [members, next] : rows) {
    const UpstreamPage page = Page(Wrapped(members));
    EXPECT_NE(page.more, "") << members;
    EXPECT_EQ(page.next, next) << members;
  }
  // Also where the wrapper's wrapper says so.
  EXPECT_NE(Page(R"({"has_more":true,"data":{"finetunes":[{"id":"a"}]}})").more, "");
}

TEST(UpstreamPager, EndsWithABareArray) {
  UpstreamPager pager(kUrl, 1 << 20);
  EXPECT_EQ(pager.Take(PageOf(kTwo)), std::nullopt);
  const UpstreamList pages = std::move(pager).Finish();
  EXPECT_EQ(pages.more, "");
  EXPECT_THAT(pages.bodies, SizeIs(1));
}

TEST(UpstreamPager, FollowsPagesToTheirEnd) {
  UpstreamPager pager(kUrl, 1 << 20);
  EXPECT_EQ(pager.Take(PageOf(Wrapped(R"("next_cursor":"b")"))), std::string(kUrl) + "?cursor=b");
  EXPECT_EQ(pager.Take(PageOf(Wrapped(R"("next":"/finetune/request/list?cursor=d","x":1)"))),
            std::string(kUrl) + "?cursor=d");
  EXPECT_EQ(pager.Take(PageOf(Wrapped(R"("next_cursor":null)"))), std::nullopt);
  const UpstreamList pages = std::move(pager).Finish();
  EXPECT_EQ(pages.more, "");
  EXPECT_THAT(pages.bodies, SizeIs(3));
}

TEST(UpstreamPager, TakesAPartForAPart) {
  UpstreamPager pager(kUrl, 1 << 20);
  EXPECT_EQ(pager.Take({206, {}, kTwo}), std::nullopt);
  EXPECT_NE(std::move(pager).Finish().more, "");
}

TEST(UpstreamPager, FollowsWhatHeadersSay) {
  for (const auto& [name, value, url] : std::vector<std::array<std::string, 3>>{
           {"link", "<https://api.segmind.com/l?p=0>; rel=\"first\", </l?p=2>;rel=next",
            "https://api.segmind.com/l?p=2"},
           {"link", "<https://api.segmind.com/l?p=2>; title=\"a\"; rel=\"last next\"",
            "https://api.segmind.com/l?p=2"},
           {"x-next-page", "2", std::string(kUrl) + "?page=2"}}) {
    UpstreamPager pager(kUrl, 1 << 20);
    EXPECT_EQ(pager.Take(PageOf(kTwo, {{name, value}})), url) << value;
    EXPECT_EQ(pager.Take(PageOf(kTwo)), std::nullopt);
    EXPECT_EQ(std::move(pager).Finish().more, "");
  }
  UpstreamPager counted(kUrl, 1 << 20);
  EXPECT_EQ(counted.Take(PageOf(kTwo, {{"x-total-count", "3"}})), std::nullopt);
  EXPECT_THAT(std::move(counted).Finish().more, HasSubstr("3"));
  for (const char* value : {"", "<", "<https://x", "</l>; rel=prev", "</l>", ";rel=next"}) {
    UpstreamPager pager(kUrl, 1 << 20);
    EXPECT_EQ(pager.Take(PageOf(kTwo, {{"link", value}})), std::nullopt) << value;
    EXPECT_EQ(std::move(pager).Finish().more, "") << value;
  }
}

TEST(UpstreamPager, TakesTheKeyToNoOtherHost) {
  for (const char* next :
       {"https://evil.example/finetune/request/list?page=2", "http://api.segmind.com/l?page=2",
        "https://api.segmind.com:8443/l", "//evil.example/l",
        "https://api.segmind.com@evil.example/", "/l?x=a\\nb", "ftp://api.segmind.com/"}) {
    UpstreamPager pager(kUrl, 1 << 20);
    const auto url = pager.Take(PageOf(Wrapped("\"next_url\":\"" + std::string(next) + "\"")));
    EXPECT_EQ(url, std::nullopt) << next;
    EXPECT_NE(std::move(pager).Finish().more, "") << next;
  }
}

TEST(UpstreamPager, SaysSoWhereThePagesEndTooSoon) {
  {
    // Segmind does not know the parameter, and gives the first page again.
    UpstreamPager pager(kUrl, 1 << 20);
    EXPECT_TRUE(pager.Take(PageOf(Wrapped(R"("next_cursor":"b")"))).has_value());
    EXPECT_EQ(pager.Take(PageOf(Wrapped(R"("next_cursor":"b")"))), std::nullopt);
    const UpstreamList pages = std::move(pager).Finish();
    EXPECT_THAT(pages.bodies, SizeIs(1));
    EXPECT_NE(pages.more, "");
  }
  {
    UpstreamPager pager(kUrl, 1 << 20);
    EXPECT_TRUE(pager.Take(PageOf(Wrapped(R"("next_cursor":"b","total":9)"))).has_value());
    EXPECT_EQ(pager.Take(PageOf(Wrapped(R"("total":9)", R"([{"id":"c"}])"))), std::nullopt);
    EXPECT_THAT(std::move(pager).Finish().more, HasSubstr("9"));
  }
  {
    UpstreamPager pager(kUrl, 1 << 20);
    EXPECT_TRUE(pager.Take(PageOf(Wrapped(R"("next_cursor":"b")"))).has_value());
    pager.Fail(absl::UnavailableError("HTTP 500"));
    const UpstreamList pages = std::move(pager).Finish();
    EXPECT_THAT(pages.more, HasSubstr("HTTP 500"));
    EXPECT_THAT(pages.bodies, SizeIs(1));
  }
  {
    // No JSON after a good page: what came is kept.
    UpstreamPager pager(kUrl, 1 << 20);
    EXPECT_TRUE(pager.Take(PageOf(Wrapped(R"("next_cursor":"b")"))).has_value());
    EXPECT_EQ(pager.Take(PageOf("<html>")), std::nullopt);
    const UpstreamList pages = std::move(pager).Finish();
    EXPECT_NE(pages.more, "");
    EXPECT_THAT(pages.bodies, SizeIs(1));
  }
  {
    // Pages for ever.
    UpstreamPager pager(kUrl, 1 << 20);
    int asked = 1;
    while (pager.Take(PageOf(Wrapped("\"next\":" + std::to_string(asked + 1))))) ++asked;
    EXPECT_LE(asked, 50);
    EXPECT_NE(std::move(pager).Finish().more, "");
  }
  {
    UpstreamPager pager(kUrl, 10);
    EXPECT_EQ(pager.Take(PageOf(Wrapped(R"("next_cursor":"b")"))), std::nullopt);
    EXPECT_NE(std::move(pager).Finish().more, "");
  }
}

TEST(UpstreamPager, EndsAtTheEmptyPageBehindTheLastCursor) {
  UpstreamPager pager(kUrl, 1 << 20);
  EXPECT_TRUE(pager.Take(PageOf(Wrapped(R"("cursor":"b")"))).has_value());
  EXPECT_EQ(pager.Take(PageOf(Wrapped(R"("cursor":"c")", kNone))), std::nullopt);
  EXPECT_EQ(std::move(pager).Finish().more, "");
}

}  // namespace
}  // namespace finetune
