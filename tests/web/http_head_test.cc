#include "server/web/http_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

// The code with which a head is refused; 0: it is taken.
int CodeOf(const std::string& text) {
  const HeadEnd end = FindHeadEnd(text);
  if (end.refusal) return end.refusal->code;
  if (end.size != text.size()) return -1;
  HttpHead head;
  const auto refusal = ParseHead(text, head);
  return refusal ? refusal->code : 0;
}

std::string Get(const std::string& target, const std::string& fields = "") {
  return absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}

TEST(HttpHead, IsReadWithItsPathDecoded) {
  HttpHead head;
  const std::string text =
      "POST /a%20b/c?d=%20&e HTTP/1.1\r\nHost: a\r\nX-Y:  one  two\t\r\nContent-LENGTH: 12\r\n"
      "Connection: foo, Close\r\n\r\n";
  ASSERT_FALSE(ParseHead(text, head).has_value());
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.path, "/a b/c");
  EXPECT_EQ(head.query, "d=%20&e");
  EXPECT_EQ(*head.Find("x-y"), "one  two");
  EXPECT_EQ(head.Find("x-z"), nullptr);
  EXPECT_EQ(head.body, HttpHead::Body::kOfLength);
  EXPECT_EQ(head.length, 12u);
  EXPECT_FALSE(head.keep_alive);
}

TEST(HttpHead, TakesTheFormsOfATargetThatProxiesSend) {
  for (const char* target : {"/livez", "http://a/livez", "HTTP://a:80/livez", "https://[::1]/livez",
                             "/%6civez", "/livez?"}) {
    HttpHead head;
    ASSERT_FALSE(ParseHead(Get(target), head).has_value()) << target;
    EXPECT_EQ(head.path, "/livez") << target;
  }
  HttpHead head;
  ASSERT_FALSE(ParseHead(Get("http://a?x"), head).has_value());
  EXPECT_EQ(head.query, "x");
}

TEST(HttpHead, IsRefusedWhereItCouldBeReadInTwoWays) {
  const std::string post = "POST /x HTTP/1.1\r\nHost: a\r\n";
  const std::string kBad[] = {
      post + "Content-Length : 5\r\n\r\n",
      post + "Content-Length\t: 5\r\n\r\n",
      post + "Transfer-Encoding : chunked\r\n\r\n",
      post + "X: a\r\n b\r\n\r\n",
      post + "Content-Length:\r\n 5\r\n\r\n",
      "POST /x HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n",
      post + "X: a\rb\r\n\r\n",
      post + std::string("X: a\0b\r\n\r\n", 10),
      post + std::string("Content-Length: 5\0\r\n\r\n", 22),
      post + "X\x01: a\r\n\r\n",
      post + "X(: a\r\n\r\n",
      post + ": a\r\n\r\n",
      post + "no colon\r\n\r\n",
      post + "Host: b\r\n\r\n",
      post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
      post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
      post + "Content-Length: +5\r\n\r\n",
      post + "Content-Length: -5\r\n\r\n",
      post + "Content-Length: 0x5\r\n\r\n",
      post + "Content-Length: 5, 5\r\n\r\n",
      post + "Content-Length: 5 5\r\n\r\n",
      post + "Content-Length:\r\n\r\n",
      post + "Transfer-Encoding: identity\r\n\r\n",
      post + "Transfer-Encoding: gzip, chunked\r\n\r\n",
      post + "Transfer-Encoding: xchunked\r\n\r\n",
      post + "Transfer-Encoding: chunked, chunked\r\n\r\n",
      "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET /x HTTP/1.1\r\n\r\n",
      "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /x  HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /x HTTP/1.1 \r\nHost: a\r\n\r\n",
      "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n",
      std::string("GET /x\0y HTTP/1.1\r\nHost: a\r\n\r\n", 30),
      "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /x HTTP/1.10\r\nHost: a\r\n\r\n",
      "GET /x http/1.1\r\nHost: a\r\n\r\n",
      "GET /x\r\n\r\n",
      "G(T /x HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /x HTTP/1.1\nHost: a\n\n",
      "GET /x HTTP/1.1\r\nHost: a\n\r\n",
      "\n",
  };
  for (const std::string& text : kBad) EXPECT_EQ(CodeOf(text), 400) << text;
}

TEST(HttpHead, HasNoPathWithControlCharactersOrBrokenEscapes) {
  for (const char* target : {"/x%00", "/x%00y", "/x%0a", "/x%7f", "/x%", "/x%1", "/x%zz", "/%-1"})
    EXPECT_EQ(CodeOf(Get(target)), 404) << target;
}

TEST(HttpHead, HasItsLimits) {
  EXPECT_EQ(CodeOf(Get("/" + std::string(9000, 'a'))), 414);
  EXPECT_EQ(CodeOf("GET /" + std::string(20'000, 'a')), 414) << "before the line has ended";
  EXPECT_EQ(CodeOf(Get("/", absl::StrCat("X: ", std::string(17'000, 'a'), "\r\n"))), 431);
  std::string many;
  for (int i = 0; i < 200; ++i) many += "X: a\r\n";
  EXPECT_EQ(CodeOf(Get("/", many)), 431);
  EXPECT_EQ(CodeOf("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(CodeOf("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(CodeOf("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 0);
  EXPECT_EQ(CodeOf(Get("/", "Expect: foo\r\n")), 417);
  HttpHead head;
  ASSERT_FALSE(ParseHead(Get("/", "Content-Length: 18446744073709551617\r\n"), head).has_value());
  EXPECT_EQ(head.length, UINT64_MAX);
}

TEST(HttpHead, EndsWhereItsEmptyLineEnds) {
  const std::string whole = Get("/x");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(FindHeadEnd(whole.substr(0, size)).size, 0u);
    EXPECT_FALSE(FindHeadEnd(whole.substr(0, size)).refusal.has_value());
  }
  EXPECT_EQ(FindHeadEnd(whole + "\nmore").size, whole.size());
}

// The data of a body given in pieces of `step` bytes; "refused" or "more" if it is none.
std::string Decoded(const std::string& body, size_t step, std::string* rest = nullptr) {
  ChunkDecoder decoder;
  std::string data;
  for (size_t at = 0; at < body.size() && !decoder.done(); at += step) {
    std::string_view piece = std::string_view(body).substr(at, step);
    if (decoder.Take(piece, data)) return "refused";
    if (rest != nullptr) *rest = std::string(piece);
  }
  return decoder.done() ? data : "more";
}

TEST(ChunkDecoder, TakesTheFramingOffHoweverTheBytesCome) {
  const std::string body = "5\r\nhello\r\n00A;x=\"y\"\r\n, you all!\r\n0\r\nTrailer: x\r\n\r\n";
  for (size_t step = 1; step <= body.size(); ++step)
    EXPECT_EQ(Decoded(body, step), "hello, you all!") << step;
  std::string rest;
  EXPECT_EQ(Decoded("0\r\n\r\nGET /", 100, &rest), "");
  EXPECT_EQ(rest, "GET /") << "what follows is left";
}

TEST(ChunkDecoder, RefusesWhatIsNoFraming) {
  for (const std::string& body :
       {std::string("zz\r\n"), std::string("\r\n"), std::string("5 \r\nhello\r\n0\r\n\r\n"),
        std::string("-5\r\nhello\r\n"), std::string("0x5\r\nhello\r\n"), std::string("5\nhello\n"),
        std::string("5\r\nhelloXX0\r\n\r\n"), std::string("5\r\nhello!\r\n"),
        std::string("5;\x01\r\nhello"), std::string("ffffffffffffffffff\r\n"),
        "5;" + std::string(5000, 'x'), "5\r\nhello\r\n0\r\nX: " + std::string(5000, 'x')})
    for (const size_t step : {1, 7, 10'000}) EXPECT_EQ(Decoded(body, step), "refused") << body;
}

}  // namespace
}  // namespace finetune
