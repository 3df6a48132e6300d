#include "server/access/key_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/access/jwt_signer.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// A signed text and its signature, as a token has them.
struct Signed {
  std::string text;
  std::string signature;
};
Signed SignedBy(const JwtSigner& signer) {
  const std::string token = signer.Sign("{}");
  const size_t dot = token.rfind('.');
  Signed made{.text = token.substr(0, dot), .signature = {}};
  EXPECT_TRUE(DecodeBase64Url(token.substr(dot + 1), made.signature));
  return made;
}
KeySet Keys(const std::vector<std::string>& keys) {
  std::string json = "{\"keys\":[";
  for (const std::string& key : keys) absl::StrAppend(&json, json.size() > 9 ? "," : "", key);
  auto set = KeySet::Parse(json + "]}");
  EXPECT_TRUE(set.ok()) << set.status();
  return set.ok() ? *std::move(set) : KeySet();
}

TEST(KeySet, VerifiesWhatItsKeyHasSigned) {
  for (const bool rsa : {true, false}) {
    const JwtSigner signer = rsa ? JwtSigner::Rsa() : JwtSigner::Ec();
    const JwtAlgorithm algorithm = rsa ? JwtAlgorithm::kRs256 : JwtAlgorithm::kEs256;
    const KeySet keys = Keys({signer.Jwk()});
    const Signed made = SignedBy(signer);
    EXPECT_TRUE(keys.Verify(algorithm, "k1", made.text, made.signature));
    EXPECT_FALSE(keys.Verify(algorithm, "k1", made.text + "x", made.signature));
    std::string forged = made.signature;
    forged[forged.size() / 2] ^= 1;
    EXPECT_FALSE(keys.Verify(algorithm, "k1", made.text, forged));
    for (const std::string& none : {std::string(), std::string(64, '\0'), std::string(63, 'x'),
                                    made.signature + "x", made.signature.substr(1)})
      EXPECT_FALSE(keys.Verify(algorithm, "k1", made.text, none)) << none.size();
  }
}

TEST(KeySet, AKeyVerifiesForItsOwnNameAndAlgorithmOnly) {
  const JwtSigner rsa = JwtSigner::Rsa(), ec = JwtSigner::Ec();
  const KeySet keys = Keys({rsa.Jwk("r"), ec.Jwk("e")});
  EXPECT_TRUE(keys.Has("r"));
  EXPECT_TRUE(keys.Has("e"));
  EXPECT_FALSE(keys.Has("x"));
  const Signed made = SignedBy(ec);
  EXPECT_TRUE(keys.Verify(JwtAlgorithm::kEs256, "e", made.text, made.signature));
  EXPECT_TRUE(keys.Verify(JwtAlgorithm::kEs256, "", made.text, made.signature)) << "any";
  EXPECT_FALSE(keys.Verify(JwtAlgorithm::kEs256, "r", made.text, made.signature));
  EXPECT_FALSE(keys.Verify(JwtAlgorithm::kRs256, "e", made.text, made.signature));
}

TEST(KeySet, OfTwoKeysOfOneNameEitherVerifies) {
  const JwtSigner old = JwtSigner::Ec(), next = JwtSigner::Ec();
  const KeySet keys = Keys({old.Jwk("k"), next.Jwk("k")});
  for (const JwtSigner* signer : {&old, &next}) {
    const Signed made = SignedBy(*signer);
    EXPECT_TRUE(keys.Verify(JwtAlgorithm::kEs256, "k", made.text, made.signature));
  }
}

TEST(KeySet, LeavesOutKeysThatAreForSomethingElse) {
  const std::string ec = JwtSigner::Ec().Jwk("good");
  const KeySet keys =
      Keys({R"({"kty":"oct","kid":"secret","k":"AQAB"})",
            R"({"kty":"EC","crv":"P-384","kid":"other curve"})",
            R"({"kty":"RSA","alg":"PS256","kid":"other algorithm"})",
            R"({"kty":"RSA","use":"enc","kid":"for encryption"})", "7", "null", ec});
  EXPECT_TRUE(keys.Has("good"));
  EXPECT_FALSE(keys.Has("secret"));
  EXPECT_TRUE(keys.skipped().empty());
}

TEST(KeySet, TakesNoMoreKeysThanATokenMayBeTriedWith) {
  const std::string key = JwtSigner::Ec().Jwk("k");
  const KeySet keys = Keys(std::vector<std::string>(101, key));
  ASSERT_EQ(keys.skipped().size(), 1u);
  EXPECT_THAT(keys.skipped()[0], HasSubstr("key 101 is skipped"));
}

TEST(KeySet, SaysWhatIsNone) {
  for (const char* json :
       {"", "[]", "{}", R"({"keys":{}})", R"({"keys":[]})", R"({"keys":[{"kty":"oct"}]})",
        R"({"keys":[],"keys":[]})", "{\"keys\":[\"\xff\"]}"}) {
    const absl::Status status = KeySet::Parse(json).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << json;
  }
  EXPECT_TRUE(KeySet().empty());
  EXPECT_FALSE(KeySet().Verify(JwtAlgorithm::kRs256, "", "text", "signature"));
}

TEST(Base64Url, IsTakenInItsOneFormOnly) {
  std::string bytes;
  EXPECT_TRUE(DecodeBase64Url("", bytes));
  EXPECT_EQ(bytes, "");
  EXPECT_TRUE(DecodeBase64Url("-_8", bytes));
  EXPECT_EQ(bytes, "\xfb\xff");
  EXPECT_TRUE(DecodeBase64Url("AA", bytes));
  EXPECT_EQ(bytes, std::string(1, '\0'));
  for (const char* text : {"A", "AB", "AAAAA", "AA==", "+/8", "A A", "AA\n", "AAF"})
    EXPECT_FALSE(DecodeBase64Url(text, bytes)) << text;
}

}  // namespace
}  // namespace finetune
