#include "server/http/proxy.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

std::string For(const char* url, const Environment& environment) {
  return ProxyFor(*Url::Parse(url), environment);
}

TEST(Proxy, IsThatOfTheScheme) {
  const Environment both = {{"http_proxy", "http://a"}, {"https_proxy", "http://b"}};
  EXPECT_EQ(For("http://h/", both), "http://a");
  EXPECT_EQ(For("https://h/", both), "http://b");
  EXPECT_EQ(For("https://h/", {{"HTTPS_PROXY", "http://b"}}), "http://b");
  EXPECT_EQ(For("https://h/", {{"http_proxy", "http://a"}}), "");
  EXPECT_EQ(For("http://h/", {{"ALL_PROXY", "socks5://c"}, {"http_proxy", ""}}), "socks5://c");
  EXPECT_EQ(For("http://h/", {}), "");
  // A CGI program's caller sets this one, by a header.
  EXPECT_EQ(For("http://h/", {{"HTTP_PROXY", "http://evil"}}), "");
}

TEST(Proxy, IsLeftOutForThisHost) {
  const Environment proxy = {{"all_proxy", "http://a"}};
  for (const char* url : {"http://localhost:1/", "http://127.1/", "http://127.9.9.9/",
                          "http://[::1]/", "https://a.localhost/"})
    EXPECT_EQ(For(url, proxy), "") << url;
}

TEST(Proxy, IsLeftOutWhereNoProxySaysSo) {
  struct Case {
    const char* direct;
    const char* url;
    bool exempt;
  };
  for (const Case& c : {Case{"*", "http://h/", true},
                        Case{"example.com", "http://example.com/", true},
                        Case{"example.com", "http://a.example.com/", true},
                        Case{"example.com", "http://badexample.com/", false},
                        Case{" .Example.com ,x", "http://a.example.com/", true},
                        Case{"*.example.com", "http://a.example.com/", true},
                        Case{"a,b example.com.", "http://example.com./", true},
                        Case{"example.com:81", "http://example.com:81/", true},
                        Case{"example.com:81", "http://example.com/", false},
                        Case{"10.0.0.0/8", "http://10.1.2.3/", true},
                        Case{"10.0.0.0/8", "http://0x0a010203/", true},
                        Case{"10.0.0.0/8", "http://11.1.2.3/", false},
                        Case{"10.0.0.0/99", "http://10.0.0.0/", false},
                        Case{"10.0.0.0/x", "http://10.0.0.0/", false},
                        Case{"10.1.2.3", "http://10.1.2.3/", true},
                        Case{"2001:db8::/32", "http://[2001:db8::5]/", true},
                        Case{"[2001:db8::5]:80", "http://[2001:db8::5]/", true},
                        Case{"2001:db8::5", "http://[2001:0db8::5]/", true},
                        Case{"10.0.0.0/8", "http://[2001:db8::5]/", false},
                        Case{"2", "http://1.2.3.2/", false},
                        Case{"", "http://h/", false},
                        Case{".,*,,", "http://h/", true},
                        Case{".", "http://h/", false}}) {
    EXPECT_EQ(For(c.url, {{"http_proxy", "http://a"}, {"no_proxy", c.direct}}),
              c.exempt ? "" : "http://a")
        << c.direct << " " << c.url;
  }
  EXPECT_EQ(For("http://h/", {{"http_proxy", "http://a"}, {"NO_PROXY", "h"}}), "");
}

}  // namespace
}  // namespace finetune
