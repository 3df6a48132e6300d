#include "server/base/url_signature.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

struct Case {
  const char* is_signed;
  const char* bare;
};

TEST(UrlSignature, IsTakenAwayWhoeverMadeIt) {
  for (const Case& c : {
           Case{
               "https://b.s3.amazonaws.com/w?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F"
               "us&X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-Security-Token=t&"
               "X-Amz-SignedHeaders=host&X-Amz-Signature=abc",
               "https://b.s3.amazonaws.com/w"},
           Case{"https://b.s3.amazonaws.com/w?AWSAccessKeyId=A&Expires=1&Signature=x%2By%3D",
                "https://b.s3.amazonaws.com/w"},
           Case{"https://storage.googleapis.com/b/w?X-Goog-Algorithm=G&X-Goog-Credential=c&"
                "X-Goog-Date=d&X-Goog-Expires=9&X-Goog-SignedHeaders=host&X-Goog-Signature=abc",
                "https://storage.googleapis.com/b/w"},
           Case{"https://storage.googleapis.com/b/w?GoogleAccessId=a&Expires=1&Signature=s",
                "https://storage.googleapis.com/b/w"},
           Case{"https://a.blob.core.windows.net/c/w?sv=2024-01-01&st=x&se=y&sr=b&sp=r&spr=https&"
                "sig=abc%3D",
                "https://a.blob.core.windows.net/c/w"},
           Case{"https://d.cloudfront.net/w?Expires=1&Signature=s~-_&Key-Pair-Id=K",
                "https://d.cloudfront.net/w"},
           Case{"https://d.cloudfront.net/w?Policy=p&Signature=s&Key-Pair-Id=K",
                "https://d.cloudfront.net/w"},
           Case{"https://b.oss-cn.aliyuncs.com/w?OSSAccessKeyId=a&Expires=1&Signature=s&"
                "security-token=t",
                "https://b.oss-cn.aliyuncs.com/w"},
           Case{"https://b.cos.myqcloud.com/w?q-sign-algorithm=sha1&q-ak=a&q-sign-time=1%3B2&"
                "q-key-time=1&q-header-list=host&q-url-param-list=&q-signature=s",
                "https://b.cos.myqcloud.com/w"},
           Case{"https://cdn.example/w?token=abc&expires=1", "https://cdn.example/w"},
           Case{"https://cdn.example/w?hdnts=exp=1~acl=/*~hmac=abc", "https://cdn.example/w"},
           Case{"https://cdn.example/w?accessToken=a", "https://cdn.example/w"},
           Case{"https://cdn.example/w?md5=a&expires=5", "https://cdn.example/w"},
           Case{"https://user:password@h.example/w", "https://h.example/w"},
           Case{"https://a@b@h.example/w", "https://h.example/w"},
       })
    EXPECT_EQ(WithoutSignatures(c.is_signed), c.bare) << c.is_signed;
}

TEST(UrlSignature, LeavesWhatNamesTheFile) {
  for (const Case& c : {
           Case{"https://h/w?versionId=3&X-Amz-Signature=a&part=2",
                "https://h/w?versionId=3&part=2"},
           Case{"https://h/w?X-Amz-Signature=a&alt=media#f", "https://h/w?alt=media#f"},
           Case{"https://h/w?alt=media&token=1", "https://h/w?alt=media"},
           Case{"https://h/w?generation=7&X-Goog-Signature=a", "https://h/w?generation=7"},
           Case{"https://h/w?x-amz%2Dsignature=a&id=1", "https://h/w?id=1"},
           Case{"https://h/w?id=1&amp;X-Amz-Signature=a", "https://h/w?id=1"},
           Case{"https://h/w#X-Amz-Signature=a", "https://h/w#X-Amz-Signature=a"},
       }) {
    if (std::string_view(c.is_signed) == "https://h/w#X-Amz-Signature=a") {
      EXPECT_EQ(WithoutSignatures(c.is_signed), "https://h/w#");
      continue;
    }
    EXPECT_EQ(WithoutSignatures(c.is_signed), c.bare) << c.is_signed;
  }
  for (const char* same :
       {"https://h/w.safetensors", "https://h/w?id=3&t=5&date=2026", "https://h/w?st=1&se=2",
        "what is this? a dog", "1 + 1 = 2", "me@example.com", "https://h/a@b", "a=b?", "", "x?y&z",
        "https://h/?", "steps=3&exp=4"}) {
    EXPECT_EQ(WithoutSignatures(same), same);
    EXPECT_FALSE(IsSigned(same)) << same;
  }
}

TEST(UrlSignature, IsFoundInWordsThatQuoteAUrl) {
  EXPECT_EQ(
      WithoutSignatures("Download failed: <https://h/a.zip?X-Amz-Signature=abc> answered 403"),
      "Download failed: <https://h/a.zip> answered 403");
  EXPECT_EQ(WithoutSignatures("GET /a.zip?sig=abc&sv=1 (\"https://h/b?n=1&sig=z\") twice"),
            "GET /a.zip (\"https://h/b?n=1\") twice");
  EXPECT_EQ(WithoutSignatures("bad request: X-Amz-Signature=abc&X-Amz-Date=x, try again"),
            "bad request:  try again");
  EXPECT_EQ(WithoutSignatures("Credential=A, SignedHeaders=host, Signature=abc"),
            "Credential=A, SignedHeaders=host, ");
  EXPECT_EQ(
      WithoutSignatures("https://p/fetch?url=https%3A%2F%2Fh%2Fa%3FX-Amz-Signature%3Dabc%26n%3D1"),
      "https://p/fetch?url=https%3A%2F%2Fh%2Fa%3Fn%3D1");
  EXPECT_EQ(WithoutSignatures("two: https://h/a?sig=1 https://h/b?sig=2"),
            "two: https://h/a https://h/b");
}

TEST(UrlSignature, IsTakenAwayOnce) {
  for (const char* text : {"https://h/a?sig=1&x=?sig=2", "?sig=?sig=1", "https://a@b?c@d?sig=1",
                           "=?&=?sig&sig=", "X-Amz-Signature=X-Amz-Signature=1", "%3Fsig%3D1"}) {
    const std::string once = WithoutSignatures(text);
    EXPECT_EQ(WithoutSignatures(once), once) << text;
  }
}

TEST(UrlSignature, IsFoundInJsonAsItCame) {
  const auto clean = [](std::string_view json) {
    std::string cleaned;
    return JsonWithoutSignatures(json, cleaned) ? cleaned : "unchanged";
  };
  EXPECT_EQ(clean(R"({"u":"https://h/w?X-Amz-Date=1&X-Amz-Signature=a","n":1})"),
            R"({"u":"https://h/w","n":1})");
  EXPECT_EQ(clean(R"({"u":"https:\/\/h\/w?X-Amz-Date=1\u0026X-Amz-Signature\u003da","n":"a\n"})"),
            R"({"u":"https://h/w","n":"a\n"})");
  EXPECT_EQ(clean(R"({"u":"https://h/w\u003fsig=1"})"), R"({"u":"https://h/w"})");
  EXPECT_EQ(clean(R"({"u":"a\\u0026?b","n":"what?"})"), "unchanged");
  EXPECT_EQ(clean(R"({"u":"https://h/w"})"), "unchanged");
}

}  // namespace
}  // namespace finetune
