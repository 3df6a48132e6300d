#include "server/base/url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using testing::HasSubstr;

Url Read(std::string_view text) {
  auto url = Url::Parse(text);
  EXPECT_TRUE(url.ok()) << text << ": " << url.status();
  return url.ok() ? *url : *Url::Parse("http://failed");
}

std::string Why(const absl::StatusOr<Url>& url) {
  if (url.ok()) return "it is fine: " + url->text();
  EXPECT_EQ(url.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(url.status().message());
}

TEST(Url, TellsWhereItLeads) {
  const Url url = Read("HTTPS://Data.Example.:8443/a/b.zip?x=1#part");
  EXPECT_TRUE(url.secure());
  EXPECT_EQ(url.host(), "data.example");
  EXPECT_EQ(url.port(), 8443);
  EXPECT_EQ(url.path_and_query(), "/a/b.zip?x=1");
  EXPECT_EQ(Read("http://h").port(), 80);
  EXPECT_EQ(Read("https://h").port(), 443);
  EXPECT_EQ(Read("https://h:").port(), 443);
  EXPECT_EQ(Read("https://h?x").path_and_query(), "?x");
  EXPECT_EQ(Read("http://[::1]:80/").host(), "::1");
}

TEST(Url, ReadsAnAddressInAllItsSpellings) {
  for (const char* host : {"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F.1",
                           "0177.0.0.1", "017700000001", "127.0.0.1.", "0x7f.0.0x0.01"})
    EXPECT_EQ(Read(std::string("http://") + host + "/x").host(), "127.0.0.1") << host;
  EXPECT_EQ(Read("http://169.254.43518/").host(), "169.254.169.254");
  EXPECT_EQ(Read("http://0/").host(), "0.0.0.0");
  EXPECT_EQ(Read("http://1.2.3.4.example/").host(), "1.2.3.4.example");
  EXPECT_EQ(Read("http://0x7f.example/").host(), "0x7f.example");
  for (const char* host : {"[0:0:0:0:0:0:0:1]", "[::0:1]", "[0000::0001]"})
    EXPECT_EQ(Read(std::string("http://") + host + "/").host(), "::1") << host;
  EXPECT_EQ(Read("http://[::FFFF:127.0.0.1]/").host(), "::ffff:127.0.0.1");
}

TEST(Url, RefusesWhatReadersDisagreeAbout) {
  for (const char* text : {"",
                           "x",
                           "ftp://h/",
                           "file:///etc/passwd",
                           "http:/h",
                           "http:h",
                           "//h/x",
                           "http://",
                           "http:///x",
                           "http://?x",
                           "http://:80/",
                           "http://h:0/",
                           "http://h:65536/",
                           "http://h:8a/",
                           "http://h:-1/",
                           "http://h:99999999999999999999/",
                           "http://[::1",
                           "http://[::1]garbage/",
                           "http://[::1]:x/",
                           "http://[fe80::1%25eth0]/",
                           "http://[1.2.3.4]/",
                           "http://256.1.1.1/",
                           "http://1.2.3.4.5/",
                           "http://4294967296/",
                           "http://0x1ffffffff/",
                           "http://1..2/",
                           "http://08.1.1.1/",
                           "http://a..1/",
                           "http://user@h/",
                           "http://user:password@h/",
                           "http://good.example@evil.example/",
                           "http://h\\@evil.example/",
                           "http://h/a b",
                           "http://h/a\tb",
                           "http://h/\"x\"",
                           "http://h/<x>",
                           "http://h /",
                           "http://%31%32%37.0.0.1/",
                           "http://h%00.example/",
                           "http://b\u00fccher.example/",
                           "http://\uff11\uff12\uff17.0.0.1/",
                           "http://\u24d6oogle.com/"})
    EXPECT_FALSE(Url::Parse(text).ok()) << text;
  EXPECT_FALSE(Url::Parse(std::string("http://h/\0x", 11)).ok());
}

TEST(Url, SaysWhatIsWrongWithoutShowingIt) {
  EXPECT_THAT(Why(Url::Parse("http://user:secret@h/")), HasSubstr("user name or password"));
  EXPECT_THAT(Why(Url::Parse("http://h:80x80/?secret")), HasSubstr("port"));
  EXPECT_THAT(Why(Url::Parse("http://h/secret word")), HasSubstr("spaces"));
  EXPECT_THAT(Why(Url::Parse("http://b\u00fccher/")), HasSubstr("xn--"));
  for (const char* text :
       {"http://user:secret@h/", "http://h:80x80/?secret", "http://h/secret word"})
    EXPECT_THAT(Why(Url::Parse(text)), testing::Not(HasSubstr("secret")));
}

TEST(Url, IsFetchedInAscii) {
  EXPECT_EQ(Read("https://h/b\u00fccher.zip?q=\u00e9").text(),
            "https://h/b%C3%BCcher.zip?q=%C3%A9");
  EXPECT_EQ(Read("https://h/a%20b?Signature=x%2By").text(), "https://h/a%20b?Signature=x%2By");
}

TEST(Url, IsReadFromAnswersAsBrowsersDo) {
  const auto text = [](std::string_view answer) { return Url::ParseAnswer(answer)->text(); };
  EXPECT_EQ(text(" https://h/my dogs.zip?a=b c \r\n"), "https://h/my%20dogs.zip?a=b%20c");
  EXPECT_EQ(text("https://h/a\tb\nc"), "https://h/abc");
  EXPECT_EQ(text("https://h/\"{x}\"<y>`"), "https://h/%22%7Bx%7D%22%3Cy%3E%60");
  EXPECT_EQ(text("https://h/\x01z"), "https://h/%01z");
  EXPECT_THAT(Why(Url::ParseAnswer("https://h:9x/")), HasSubstr("port"));
  EXPECT_THAT(Why(Url::ParseAnswer("https://a b/")), HasSubstr("space"));
  EXPECT_THAT(Why(Url::ParseAnswer("https://h/a\\b")), HasSubstr("backslash"));
  EXPECT_FALSE(Url::ParseAnswer("").ok());
  EXPECT_FALSE(Url::ParseAnswer("no URL at all").ok());
}

TEST(Url, FollowsALocation) {
  const Url here = Read("https://h:8443/a/b.zip?x=1");
  const auto to = [&](std::string_view location) {
    auto url = here.Resolve(location);
    return url.ok() ? url->text() : "refused: " + std::string(url.status().message());
  };
  EXPECT_EQ(to("http://other/x"), "http://other/x");
  EXPECT_EQ(to("//other/x"), "https://other/x");
  EXPECT_EQ(to("/c d.zip"), "https://h:8443/c%20d.zip");
  EXPECT_EQ(to("c.zip?y=2"), "https://h:8443/a/c.zip?y=2");
  EXPECT_EQ(to("?y=2"), "https://h:8443/a/b.zip?y=2");
  EXPECT_EQ(to(""), "https://h:8443/a/b.zip?x=1");
  EXPECT_EQ(to(" \thttps://other/\u00fc\t"), "https://other/%C3%BC");
  EXPECT_EQ(Read("http://h").Resolve("x")->text(), "http://h/x");
  EXPECT_EQ(Read("http://h?q").Resolve("x/y:z")->text(), "http://h/x/y:z");
  for (const char* location : {"http://h:bad/", "http:", "javascript:alert(1)",
                               "file:///etc/passwd", "http://user@h/", "\\\\evil\\x"})
    EXPECT_THAT(to(location), HasSubstr("refused")) << location;
}

TEST(PercentDecoded, UndoesWhatStandsForSomething) {
  EXPECT_EQ(PercentDecoded("a%20b%2fc%2Fd%C3%BC%00"), std::string("a b/c/d\u00fc\0", 10));
  for (const char* plain : {"", "a+b", "%", "100%", "%2", "%zz", "%-1", "%0x1", "% 1"})
    EXPECT_EQ(PercentDecoded(plain), plain);
  EXPECT_EQ(PercentDecoded("%2520"), "%20");
}

}  // namespace
}  // namespace finetune
