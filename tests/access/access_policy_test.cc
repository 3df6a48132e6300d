#include "server/access/access_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/access/caller_use.h"
#include "server/base/error.h"
#include "tests/access/jwt_signer.h"
#include "tests/access/policy_samples.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
absl::StatusOr<std::shared_ptr<const AccessPolicy>> Parse(const std::string& json,
                                                          const std::string& key_set = "",
                                                          const AccessPolicy* previous = nullptr) {
  const auto file = [&](const std::string& path) -> absl::StatusOr<std::string> {
    EXPECT_EQ(path, "/folder/keys.json");
    if (key_set.empty()) return absl::InvalidArgumentError("cannot read it");
    return key_set;
  };
  const auto remote = [](const KeyLocation&) -> std::shared_ptr<RemoteKeys> {
    ADD_FAILURE() << "nothing is to be fetched";
    return nullptr;
  };
  return AccessPolicy::Parse(json, "/folder", {file, remote}, previous);
}

std::string PolicyError(const std::string& json, const std::string& key_set = "") {
  auto policy = Parse(json, key_set);
  return policy.ok() ? "accepted" : std::string(policy.status().message());
}

TEST(Policy, KnowsCallersByTheirToken) {
  auto policy = Parse(PolicyOf(OneCaller(
      R"(,"seesAllJobs":true,"limits":{"creates_per_day":"5","callsPerSecond":2.5,"watchers":0})")));
  ASSERT_TRUE(policy.ok()) << policy.status();
  auto caller = (*policy)->FindByToken(kToken, kNow);
  ASSERT_TRUE(caller.ok()) << caller.status();
  const Caller& known = *caller->caller;
  EXPECT_EQ(known.identity, "indexer");
  EXPECT_EQ(known.role, Role::kSubmitter);
  EXPECT_TRUE(known.sees_all);
  EXPECT_EQ(known.limits.creates_per_day, 5);
  EXPECT_EQ(known.limits.calls_per_second, 2.5);
  EXPECT_EQ(known.limits.watchers, 0);
  EXPECT_EQ(known.limits.active_jobs, std::nullopt);
  EXPECT_EQ(caller->good_until, absl::InfiniteFuture());
  auto other = (*policy)->FindByToken("another-token", kNow);
  EXPECT_EQ(ReasonOf(other.status()), pb::ErrorReason::CREDENTIALS_INVALID);
  EXPECT_EQ(other.status().code(), absl::StatusCode::kUnauthenticated);
}

TEST(Policy, NamesItsCallersInOrder) {
  auto policy = Parse(PolicyOf(R"({"name":"b","role":"VIEWER","dns_names":["b.example"]},)"
                               R"({"name":"a","role":"VIEWER","dns_names":["a.example"]})"));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ((*policy)->Names(), (std::vector<std::string>{"a", "b"}));
}

TEST(Policy, KnowsCallersByTheirCertificate) {
  auto policy = Parse(PolicyOf(
      R"({"name":"a","role":"VIEWER","spiffe_ids":["spiffe://x/a"],"dns_names":["A.example"]})"));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ((*policy)->FindBySpiffeId("spiffe://x/a")->identity, "a");
  EXPECT_EQ((*policy)->FindBySpiffeId("spiffe://x/b"), nullptr);
  EXPECT_EQ((*policy)->FindByDnsName("a.example")->identity, "a");
}

class PolicyWithJwts : public ::testing::Test {
 protected:
  std::string Json(const std::string& matches) {
    return absl::StrCat(R"({"jwtIssuers":[{"issuer":"https://k8s","audiences":["gateway"],)",
                        R"("jwks_file":"keys.json"}],"callers":[)", matches, "]}");
  }
  std::string Token(const std::string& sub, const std::string& more = "",
                    int64_t exp = 1'700'000'600) {
    return signer_.Sign(absl::StrCat(R"({"iss":"https://k8s","aud":["gateway"],"sub":")", sub,
                                     R"(","exp":)", exp, more, "}"));
  }
  // With one caller, `a`, who is that subject.
  std::shared_ptr<const AccessPolicy> PolicyForOne() {
    return PolicyForOne("one", "ADMIN", signer_);
  }
  std::shared_ptr<const AccessPolicy> PolicyForOne(const std::string& subject,
                                                   const std::string& role, const JwtSigner& signer,
                                                   const AccessPolicy* previous = nullptr) {
    auto policy = Parse(
        Json(absl::StrCat(R"({"name":"a","role":")", role,
                          R"(","jwts":[{"issuer":"https://k8s","subject":")", subject, R"("}]})")),
        signer.KeySetJson(), previous);
    EXPECT_TRUE(policy.ok()) << policy.status();
    return *policy;
  }

  const JwtSigner signer_ = JwtSigner::Ec();
};

TEST_F(PolicyWithJwts, KnowsCallersBySubjectAndClaims) {
  auto policy = Parse(
      Json(
          R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"https://k8s","subject":"one"}]},)"
          R"({"name":"b","role":"VIEWER","jwts":[{"issuer":"https://k8s","claims":{"groups":"g"}}]})"),
      signer_.KeySetJson());
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ((*policy)->FindByToken(Token("one"), kNow)->caller->identity, "a");
  EXPECT_EQ((*policy)->FindByToken(Token("two", R"(,"groups":["f","g"])"), kNow)->caller->identity,
            "b");
  auto unknown = (*policy)->FindByToken(Token("two"), kNow);
  EXPECT_EQ(ReasonOf(unknown.status()), pb::ErrorReason::CREDENTIALS_INVALID);
}

TEST_F(PolicyWithJwts, KnowsClaimsOfEveryKindThatIssuersWrite) {
  struct Case {
    const char* name;
    const char* value;
    const char* fits;
    const char* does_not;
  };
  for (const Case& c : {
           Case{"admin", "true", R"("admin":true)", R"("admin":false)"},
           Case{"admin", "true", R"("admin":"true")", R"("admin":1)"},
           Case{"tenant", "42", R"("tenant":42)", R"("tenant":42.5)"},
           Case{"tenant", "42", R"("tenant":[7,42])", R"("tenant":"42 7")"},
           Case{"tenant", "9007199254740993", R"("tenant":"9007199254740993")",
                R"("tenant":9007199254740993)"},
           Case{"scope", "jobs", R"("scope":"read jobs")", R"("scope":"read jobs.write")"},
           Case{"scp", "jobs", R"("scp":["read","jobs"])", R"("scp":["read jobs"])"},
           Case{"team", "a b", R"("team":"a b")", R"("team":"a")"},
           Case{"realm_access.roles", "ft", R"("realm_access":{"roles":["x","ft"]})",
                R"("realm_access":{"role":"ft"})"},
           Case{"resource_access.my.app.roles", "ft",
                R"("resource_access":{"my.app":{"roles":["ft"]}})",
                R"("resource_access":{"my":{"roles":["ft"]}})"},
           Case{"https://x.example/roles", "ft", R"("https://x.example/roles":["ft"])",
                R"("https://x":{"example/roles":"fx"})"},
           Case{"deep", "x", R"("deep":["x"])", R"("deep":[["x"]])"},
       }) {
    auto policy =
        Parse(Json(absl::StrCat(
                  R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"https://k8s","claims":{")",
                  c.name, R"(":")", c.value, R"("}}]})")),
              signer_.KeySetJson());
    ASSERT_TRUE(policy.ok()) << policy.status();
    EXPECT_TRUE((*policy)->FindByToken(Token("x", absl::StrCat(",", c.fits)), kNow).ok()) << c.fits;
    EXPECT_FALSE((*policy)->FindByToken(Token("x", absl::StrCat(",", c.does_not)), kNow).ok())
        << c.does_not;
  }
}

TEST_F(PolicyWithJwts, RefusesClaimsThatFitNothing) {
  for (const char* claims : {R"("":"x")", R"("a":"")", R"("a":{"b":"c"})", R"("a":["b"])"})
    EXPECT_NE(
        PolicyError(Json(absl::StrCat(
                        R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"https://k8s","claims":{)",
                        claims, "}}]}")),
                    signer_.KeySetJson()),
        "accepted")
        << claims;
}

TEST_F(PolicyWithJwts, SkipsBadKeysBesideGoodOnesAndTellsOfThem) {
  const std::string weak = JwtSigner::Rsa(1024).Jwk("weak");
  const std::string kBad[] = {
      weak,
      R"({"kty":"RSA","kid":"x","n":"AQAB","e":"AQAB="})",
      R"({"kty":"RSA","kid":"x","e":"AQAB"})",
      R"({"kty":"RSA","kid":"x","n":17,"e":[]})",
      R"({"kty":"EC","crv":"P-256","kid":"x","x":"AQAB","y":"AQAB"})",
      R"({"kty":"EC","crv":"P-256","kid":"x","x":")" + std::string(43, 'A') + R"(","y":")" +
          std::string(43, 'A') + R"("})",
  };
  for (const std::string& bad : kBad) {
    const std::string set = absl::StrCat(R"({"keys":[)", bad, ",", signer_.Jwk(), ",null,7]}");
    auto policy = Parse(
        Json(R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"https://k8s","subject":"one"}]})"),
        set);
    ASSERT_TRUE(policy.ok()) << policy.status() << bad;
    EXPECT_TRUE((*policy)->FindByToken(Token("one"), kNow).ok()) << bad;
    EXPECT_THAT((*policy)->warnings(),
                testing::ElementsAre(HasSubstr("of the issuer https://k8s: key 1 is skipped: ")));
  }
  EXPECT_THAT(
      PolicyError(
          Json(R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"https://k8s","subject":"x"}]})"),
          absl::StrCat(R"({"keys":[)", weak, "]}")),
      HasSubstr("2048"));
}

TEST_F(PolicyWithJwts, ForgetsAVerifiedTokenWhenItExpires) {
  const auto policy = PolicyForOne();
  const std::string token = Token("one");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(policy->FindByToken(token, kNow).ok());
  EXPECT_TRUE(policy->FindByToken(token, kNow + absl::Seconds(629)).ok());
  EXPECT_FALSE(policy->FindByToken(token, kNow + absl::Seconds(630)).ok());
}

TEST_F(PolicyWithJwts, DoesNotRememberWhatItRefused) {
  const auto policy = PolicyForOne();
  const std::string token = Token("one", R"(,"nbf":1700000100)");
  EXPECT_FALSE(policy->FindByToken(token, kNow).ok());
  EXPECT_FALSE(policy->FindByToken(token, kNow + absl::Seconds(69)).ok());
  EXPECT_TRUE(policy->FindByToken(token, kNow + absl::Seconds(70)).ok());
  EXPECT_FALSE(policy->FindByToken(token, kNow).ok()) << "the clock went back";
}

TEST_F(PolicyWithJwts, DoesNotRememberATokenForAnotherOneOfTheSameClaims) {
  const auto policy = PolicyForOne();
  const std::string token = Token("one");
  ASSERT_TRUE(policy->FindByToken(token, kNow).ok());
  std::string forged = token;
  char& in_signature = forged[forged.rfind('.') + 5];
  in_signature = in_signature == 'A' ? 'B' : 'A';
  EXPECT_EQ(ReasonOf(policy->FindByToken(forged, kNow).status()),
            pb::ErrorReason::CREDENTIALS_INVALID);
}

TEST_F(PolicyWithJwts, ANewPolicyVerifiesAllTokensAnew) {
  const auto first = PolicyForOne();
  const std::string token = Token("one");
  ASSERT_TRUE(first->FindByToken(token, kNow).ok());
  const auto again = PolicyForOne("one", "VIEWER", signer_, first.get());
  EXPECT_EQ(again->FindByToken(token, kNow)->caller->role, Role::kViewer);
  const auto revoked = PolicyForOne("two", "ADMIN", signer_, first.get());
  EXPECT_EQ(ReasonOf(revoked->FindByToken(token, kNow).status()),
            pb::ErrorReason::CREDENTIALS_INVALID);
  const auto rotated = PolicyForOne("one", "ADMIN", JwtSigner::Ec(), first.get());
  EXPECT_EQ(ReasonOf(rotated->FindByToken(token, kNow).status()),
            pb::ErrorReason::CREDENTIALS_INVALID);
}

TEST_F(PolicyWithJwts, SaysWhatIsWrongWithAnIssuer) {
  const std::string caller =
      R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"https://k8s","subject":"one"}]})";
  EXPECT_THAT(PolicyError(Json(caller)), HasSubstr("cannot read"));
  EXPECT_THAT(PolicyError(Json(caller), "{}"), HasSubstr("keys.json"));
  EXPECT_THAT(PolicyError(Json(R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"https://k8s"}]})"),
                          signer_.KeySetJson()),
              HasSubstr("subject or claims"));
  EXPECT_THAT(
      PolicyError(Json(R"({"name":"a","role":"ADMIN","jwts":[{"issuer":"x","subject":"one"}]})"),
                  signer_.KeySetJson()),
      HasSubstr("not among jwt_issuers"));
  EXPECT_THAT(
      PolicyError(PolicyOf(OneCaller(), R"(,"jwt_issuers":[{"issuer":"x","jwks_file":"k"}])")),
      HasSubstr("audience"));
  EXPECT_THAT(PolicyError(Json(caller + R"(,{"name":"b","role":"VIEWER",)" +
                               R"("jwts":[{"issuer":"https://k8s","subject":"one"}]})"),
                          signer_.KeySetJson()),
              HasSubstr("there twice"));
}

TEST(Policy, SaysWhatIsWrong) {
  EXPECT_THAT(PolicyError(""), HasSubstr("no policy"));
  EXPECT_THAT(PolicyError("{}"), HasSubstr("names no callers"));
  EXPECT_THAT(PolicyError(PolicyOf(OneCaller(R"(,"rolle":"ADMIN")"))), HasSubstr("rolle"));
  EXPECT_THAT(PolicyError(PolicyOf(OneCaller(R"(,"limits":{"creates_per_hour":1})"))),
              HasSubstr("creates_per_hour"));
  EXPECT_THAT(PolicyError(PolicyOf(R"({"name":"a","role":"OWNER","dns_names":["a"]})")),
              HasSubstr("role"));
  EXPECT_THAT(PolicyError(PolicyOf(R"({"name":"a","dns_names":["a"]})")), HasSubstr("VIEWER"));
  EXPECT_THAT(PolicyError(PolicyOf(R"({"name":"a","role":"ADMIN"})")), HasSubstr("recognised"));
  EXPECT_THAT(PolicyError(PolicyOf(R"({"role":"ADMIN","dns_names":["a"]})")), HasSubstr("name"));
  EXPECT_THAT(PolicyError(PolicyOf(OneCaller() + "," + OneCaller("", "indexer", "t2"))),
              HasSubstr("the name is there twice"));
  EXPECT_THAT(PolicyError(PolicyOf(OneCaller() + "," + OneCaller("", "other"))),
              HasSubstr("callers[1] 'other': a bearer_token_sha256 is there twice"));
  EXPECT_THAT(PolicyError(PolicyOf(OneCaller(R"(,"limits":{"active_jobs":-1})"))),
              HasSubstr("negative"));
  EXPECT_THAT(PolicyError(PolicyOf(R"({"name":"a","role":"ADMIN","dns_names":["*.x"]})")),
              HasSubstr("wildcards"));
  EXPECT_THAT(PolicyError(PolicyOf(OneCaller("", "indexer", ""))), HasSubstr("an empty token"));
  EXPECT_THAT(PolicyError(PolicyOf(R"({"name":"a","role":9,"dns_names":["a"]})")),
              HasSubstr("role"));
  EXPECT_THAT(
      PolicyError(PolicyOf(R"({"name":"a","role":"VIEWER","role":"ADMIN","dns_names":["a"]})")),
      HasSubstr("'role' is there twice"));
}

TEST(Policy, DoesNotRepeatATokenThatWasPutInForItsHash) {
  const std::string error = PolicyError(
      PolicyOf(R"({"name":"a","role":"ADMIN","bearer_token_sha256":["canary-token-0123456"]})"));
  EXPECT_THAT(error, HasSubstr("hexadecimal"));
  EXPECT_THAT(error, ::testing::Not(HasSubstr("canary")));
  for (const char* caller :
       {R"({"name":"a","role":"canary"})",
        R"({"name":"a","role":"VIEWER","sees_all_jobs":"canary"})", R"({"name":"a" "canary"})",
        R"({"name":"a","limits":{"watchers":"canary\"\""}})"}) {
    const std::string other = PolicyError(PolicyOf(caller));
    EXPECT_THAT(other, HasSubstr("is no policy"));
    EXPECT_THAT(other, ::testing::Not(HasSubstr("canary")));
  }
  EXPECT_THAT(PolicyError(R"({"callers": ["canary-token-0123456" "x"]})"),
              ::testing::Not(HasSubstr("canary")));
}

TEST(Policy, ANewOneRevokesATokenThatWasInUse) {
  auto first = Parse(PolicyOf(OneCaller()));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE((*first)->FindByToken(kToken, kNow).ok());
  auto second = Parse(PolicyOf(OneCaller("", "indexer", "new-token")), "", first->get());
  EXPECT_EQ(ReasonOf((*second)->FindByToken(kToken, kNow).status()),
            pb::ErrorReason::CREDENTIALS_INVALID);
  auto given_away = Parse(PolicyOf(OneCaller("", "other")), "", first->get());
  EXPECT_EQ((*given_away)->FindByToken(kToken, kNow)->caller->identity, "other");
}

TEST(Policy, CallersGoOnWithWhatTheyUse) {
  auto first = Parse(PolicyOf(OneCaller()));
  auto second = Parse(PolicyOf(OneCaller(R"(,"limits":{"watchers":1})")), "", first->get());
  EXPECT_EQ((*first)->FindByToken(kToken, kNow)->caller->use,
            (*second)->FindByToken(kToken, kNow)->caller->use);
}

}  // namespace
}  // namespace finetune
