#include "server/access/jwt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "tests/access/jwt_signer.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

const absl::Time kIssued = absl::FromUnixSeconds(1'700'000'000);

std::string Claims(const std::string& more = "", int64_t exp = 1'700'000'600,
                   const std::string& aud = R"("gateway")") {
  return absl::StrCat(R"({"iss":"https://issuer","sub":"indexer","aud":)", aud, R"(,"exp":)", exp,
                      more, "}");
}

class Jwt : public ::testing::Test {
 protected:
  std::vector<JwtIssuer> Issuers(const JwtSigner& signer) {
    std::vector<JwtIssuer> issuers;
    auto keys = KeySet::Parse(signer.KeySetJson());
    EXPECT_TRUE(keys.ok()) << keys.status();
    issuers.push_back({"https://issuer", {"gateway"}, *std::move(keys), absl::Seconds(30)});
    return issuers;
  }
  std::string ErrorOf(const std::string& token) {
    auto claims = VerifyJwt(token, issuers_, kIssued);
    return claims.ok() ? "accepted" : std::string(claims.status().message());
  }

  const JwtSigner signer_ = JwtSigner::Rsa();
  const std::vector<JwtIssuer> issuers_ = Issuers(signer_);
};

TEST_F(Jwt, TakesWhatItsIssuerSigned) {
  auto claims = VerifyJwt(signer_.Sign(Claims()), issuers_, kIssued);
  ASSERT_TRUE(claims.ok()) << claims.status();
  EXPECT_EQ(claims->subject, "indexer");
  EXPECT_EQ(claims->good_until, absl::FromUnixSeconds(1'700'000'630));
  const JwtSigner ec = JwtSigner::Ec();
  const auto issuers = Issuers(ec);
  EXPECT_TRUE(VerifyJwt(ec.Sign(Claims()), issuers, kIssued).ok());
  EXPECT_TRUE(VerifyJwt(ec.SignWithHeader(R"({"alg":"ES256"})", Claims()), issuers, kIssued).ok())
      << "without a kid any key of the issuer does";
}

TEST_F(Jwt, TakesAListOfAudiences) {
  EXPECT_EQ(ErrorOf(signer_.Sign(Claims("", 1'700'000'600, R"(["x","gateway"])"))), "accepted");
  EXPECT_THAT(ErrorOf(signer_.Sign(Claims("", 1'700'000'600, R"(["x","y"])"))),
              HasSubstr("another audience"));
  EXPECT_THAT(ErrorOf(signer_.Sign(Claims("", 1'700'000'600, R"("other")"))),
              HasSubstr("another audience"));
  EXPECT_THAT(ErrorOf(signer_.Sign(R"({"iss":"https://issuer","exp":1700000600})")),
              HasSubstr("another audience"));
}

TEST_F(Jwt, HoldsToItsTimesWithLeeway) {
  EXPECT_EQ(ErrorOf(signer_.Sign(Claims("", 1'699'999'971))), "accepted");
  EXPECT_THAT(ErrorOf(signer_.Sign(Claims("", 1'699'999'970))), HasSubstr("expired"));
  EXPECT_EQ(ErrorOf(signer_.Sign(Claims(R"(,"nbf":1700000030)"))), "accepted");
  EXPECT_THAT(ErrorOf(signer_.Sign(Claims(R"(,"nbf":1700000031)"))), HasSubstr("not valid yet"));
  for (const char* exp : {R"("1700000600")", "null", "-1", "1e300", "true"}) {
    const std::string claims =
        absl::StrCat(R"({"iss":"https://issuer","aud":"gateway","exp":)", exp, "}");
    EXPECT_THAT(ErrorOf(signer_.Sign(claims)), HasSubstr("when it expires")) << exp;
  }
  EXPECT_THAT(ErrorOf(signer_.Sign(R"({"iss":"https://issuer","aud":"gateway"})")),
              HasSubstr("when it expires"));
}

TEST_F(Jwt, RefusesWhatIsNotSignedByItsIssuer) {
  EXPECT_THAT(ErrorOf(JwtSigner::Rsa().Sign(Claims())), HasSubstr("signature"));
  EXPECT_THAT(ErrorOf(signer_.Sign(Claims(), "another-kid")), HasSubstr("signature"));
  std::string token = signer_.Sign(Claims());
  const size_t payload = token.find('.') + 5;
  token[payload] = token[payload] == 'A' ? 'B' : 'A';
  EXPECT_NE(ErrorOf(token), "accepted");
  EXPECT_THAT(ErrorOf(signer_.Sign(R"({"iss":"https://other","aud":"gateway","exp":1700000600})")),
              HasSubstr("issuer"));
}

TEST_F(Jwt, RefusesTheAlgorithmsThatAttackersAskFor) {
  const std::string none = Base64Url(R"({"alg":"none"})") + "." + Base64Url(Claims()) + ".";
  EXPECT_THAT(ErrorOf(none), HasSubstr("algorithm"));
  EXPECT_THAT(ErrorOf(signer_.SignWithHeader(R"({"alg":"none"})", Claims())),
              HasSubstr("algorithm"));
  const std::string text = Base64Url(R"({"alg":"HS256","kid":"k1"})") + "." + Base64Url(Claims());
  EXPECT_THAT(ErrorOf(text + "." + Base64Url(HmacSha256(signer_.PublicPem(), text))),
              HasSubstr("algorithm"));
  EXPECT_THAT(ErrorOf(signer_.SignWithHeader(R"({"alg":"ES256","kid":"k1"})", Claims())),
              HasSubstr("signature"));
  EXPECT_THAT(ErrorOf(signer_.SignWithHeader(R"({"alg":"RS256","crit":["x"]})", Claims())),
              HasSubstr("extensions"));
}

TEST_F(Jwt, RefusesWhatIsNoToken) {
  const std::string good = signer_.Sign(Claims());
  for (const std::string& token :
       {std::string("a.b.c"), std::string(".."), good + "=", good + ".x", good.substr(1),
        Base64Url("[]") + "." + Base64Url("[]") + ".AA", std::string("\xff.\xff.\xff")})
    EXPECT_NE(ErrorOf(token), "accepted");
  EXPECT_FALSE(LooksLikeJwt("a.b"));
  EXPECT_FALSE(LooksLikeJwt("a.b.c.d"));
}

TEST(Base64UrlText, HasOneForm) {
  std::string bytes;
  EXPECT_TRUE(DecodeBase64Url("_-8", bytes));
  EXPECT_EQ(bytes, "\xff\xef");
  for (const char* text : {"A", "AB==", "A+8", "A/8", "_-9", "AA A"})
    EXPECT_FALSE(DecodeBase64Url(text, bytes)) << text;
}

TEST(KeySets, SkipOtherKindsAndRefuseWeakOnes) {
  const std::string ec = JwtSigner::Ec().Jwk();
  EXPECT_TRUE(
      KeySet::Parse(absl::StrCat(R"({"keys":[{"kty":"oct","k":"c2VjcmV0"},)", ec, "]}")).ok());
  for (const std::string& json :
       {std::string("nonsense"), std::string("{}"), std::string(R"({"keys":[]})"),
        std::string(R"({"keys":[{"kty":"oct","k":"c2VjcmV0"}]})"),
        JwtSigner::Rsa(1024).KeySetJson(),
        std::string(R"({"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]})"),
        absl::StrCat(R"({"keys":[{"kty":"EC","crv":"P-256","x":")", Base64Url(std::string(32, 'x')),
                     R"(","y":")", Base64Url(std::string(32, 'y')), R"("}]})")})
    EXPECT_FALSE(KeySet::Parse(json).ok()) << json;
}

TEST(KeySets, HoldSoManyKeysThatAllCanBeTried) {
  const std::string key = JwtSigner::Ec().Jwk();
  const auto set_of = [&](int count) {
    return absl::StrCat(R"({"keys":[)", absl::StrJoin(std::vector(count, key), ","), "]}");
  };
  EXPECT_TRUE(KeySet::Parse(set_of(100)).ok());
  EXPECT_TRUE(KeySet::Parse(set_of(100))->skipped().empty());
  EXPECT_EQ(KeySet::Parse(set_of(103))->skipped().size(), 3u);
}

}  // namespace
}  // namespace finetune
