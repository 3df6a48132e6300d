#include "tests/emulator/paging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

using ::testing::ElementsAre;

// Jobs e, d, c, b, a, the newest first.
std::vector<ListItem> Items() {
  std::vector<ListItem> items;
  for (const char* id : {"e", "d", "c", "b", "a"}) {
    items.push_back({id, std::make_shared<const std::string>("\"" + std::string(id) + "\"")});
  }
  return items;
}

Settings PagedBy(const std::string& style) {
  Settings settings;
  settings.public_url = "http://segmind";
  settings.list_page_size = 2;
  settings.list_paging = style;
  return settings;
}

Answer PageOf(const Settings& settings, const std::map<std::string, std::string>& query) {
  Request request;
  request.query = query;
  return ListAnswer(Items(), request, settings);
}

std::string TextOf(const Settings& settings, const std::map<std::string, std::string>& query = {}) {
  return *PageOf(settings, query).text;
}

// The query of a URL such as http://segmind/finetune/request/list?limit=2&cursor=ZA.
std::map<std::string, std::string> QueryOf(const std::string& url) {
  return *ParseForm("application/x-www-form-urlencoded", url.substr(url.find('?') + 1));
}

TEST(Paging, IsOffUntilItHasASize) {
  EXPECT_EQ(TextOf(Settings(), {{"offset", "3"}}), R"(["e","d","c","b","a"])");
}

TEST(Paging, TellsNothingWhenSilent) {
  EXPECT_EQ(TextOf(PagedBy("silent")), R"(["e","d"])");
  EXPECT_EQ(TextOf(PagedBy("silent"), {{"page", "2"}}), R"(["e","d"])");
}

TEST(Paging, TellsInEachStyle) {
  EXPECT_EQ(TextOf(PagedBy("has_more")), R"({"finetunes":["e","d"],"has_more":true})");
  EXPECT_EQ(TextOf(PagedBy("has_more"), {{"starting_after", "b"}}),
            R"({"finetunes":["a"],"has_more":false})");
  EXPECT_EQ(TextOf(PagedBy("page"), {{"page", "3"}}),
            R"({"finetunes":["a"],"page":3,"per_page":2,"total_pages":3})");
  EXPECT_EQ(TextOf(PagedBy("total"), {{"offset", "1"}, {"limit", "1"}}),
            R"({"finetunes":["d"],"total":5})");
  EXPECT_EQ(PageOf(PagedBy("page"), {{"page", "0"}}).code, 400);
  EXPECT_EQ(PageOf(PagedBy("cursor"), {{"cursor", "?"}}).code, 400);
}

TEST(Paging, LeadsThroughAllByCursor) {
  std::vector<std::string> pages;
  std::map<std::string, std::string> query;
  for (int i = 0; i < 5; ++i) {
    const auto page = ParseJson(TextOf(PagedBy("cursor"), query));
    pages.push_back(ToText((*page)["finetunes"]));
    const auto next = StringMember(*page, "next_cursor");
    if (!next) break;
    query = {{"cursor", *next}};
  }
  EXPECT_THAT(pages, ElementsAre(R"(["e","d"])", R"(["c","b"])", R"(["a"])"));
}

TEST(Paging, LeadsThroughAllByUrlOfEitherKind) {
  for (const auto& [style, begin] : {std::pair("next_url", "http://segmind/finetune/request/list?"),
                                     std::pair("next_path", "/finetune/request/list?")}) {
    std::vector<std::string> pages;
    std::map<std::string, std::string> query;
    for (int i = 0; i < 5; ++i) {
      const auto page = ParseJson(TextOf(PagedBy(style), query));
      EXPECT_EQ((*page)["count"].GetInt(), 5);
      pages.push_back(ToText((*page)["finetunes"]));
      const auto next = StringMember(*page, "next");
      if (!next) break;
      EXPECT_THAT(*next, testing::StartsWith(begin));
      query = QueryOf(*next);
    }
    EXPECT_THAT(pages, ElementsAre(R"(["e","d"])", R"(["c","b"])", R"(["a"])"));
  }
}

TEST(Paging, LeadsThroughAllByLink) {
  const Answer first = PageOf(PagedBy("link"), {});
  EXPECT_EQ(*first.text, R"(["e","d"])");
  ASSERT_EQ(first.headers.size(), 1u);
  const std::string link = first.headers[0].second;
  EXPECT_THAT(link, testing::EndsWith(">; rel=\"next\""));
  const Answer second = PageOf(PagedBy("link"), QueryOf(link.substr(0, link.find('>'))));
  EXPECT_EQ(*second.text, R"(["c","b"])");
  EXPECT_TRUE(PageOf(PagedBy("link"), {{"offset", "4"}}).headers.empty());
}

}  // namespace
}  // namespace finetune::emulator
