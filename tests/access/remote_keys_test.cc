#include "server/access/remote_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <utility>

#include "server/access/access_policy.h"
#include "server/base/error.h"
#include "tests/access/jwt_signer.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Keys at one location, and a server that the test plays. All on the test's thread.
class RemoteKeysTest : public ::testing::Test {
 protected:
  std::shared_ptr<RemoteKeys> Start() {
    return RemoteKeys::Start(
        {.url = "https://issuer/jwks", .ca_file = "", .token_file = ""},
        [this](KeysFetched done) {
          ++asked_;
          open_.push_back(std::move(done));
        },
        clock_, {fetched_, failed_, failing_}, [](std::function<void()> task) { task(); },
        [this] { ++changes_; });
  }
  void Answer(absl::StatusOr<std::string> text) {
    ASSERT_FALSE(open_.empty());
    KeysFetched done = std::move(open_.front());
    open_.pop_front();
    std::move(done)(std::move(text));
  }
  absl::Status Down() { return absl::UnavailableError("down"); }

  const std::string first_ = JwtSigner::Ec().KeySetJson();
  const std::string second_ = JwtSigner::Ec().KeySetJson();
  ManualClock clock_;
  Metrics metrics_;
  prometheus::Counter& fetched_ = metrics_.Counter("fetched", "");
  prometheus::Counter& failed_ = metrics_.Counter("failed", "");
  prometheus::Gauge& failing_ = metrics_.Gauge("failing", "");
  std::deque<KeysFetched> open_;
  int asked_ = 0;
  int changes_ = 0;
};

TEST_F(RemoteKeysTest, AreFetchedAtOnceAndThenEveryTenMinutes) {
  auto keys = Start();
  EXPECT_EQ(keys->text(), std::nullopt);
  Answer(first_);
  EXPECT_EQ(keys->text(), first_);
  EXPECT_EQ(changes_, 1);
  clock_.Advance(absl::Minutes(10) - absl::Seconds(1));
  EXPECT_EQ(asked_, 1);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(asked_, 2);
  Answer(first_);
  EXPECT_EQ(changes_, 1) << "the same keys are no change";
  clock_.Advance(absl::Minutes(10));
  Answer(second_);
  EXPECT_EQ(keys->text(), second_);
  EXPECT_EQ(changes_, 2);
  EXPECT_EQ(fetched_.Value(), 3);
}

TEST_F(RemoteKeysTest, StayWhenAFetchFailsOrBringsNoKeys) {
  auto keys = Start();
  Answer(first_);
  for (const auto& bad : {absl::StatusOr<std::string>(Down()), absl::StatusOr<std::string>("{}"),
                          absl::StatusOr<std::string>(JwtSigner::Rsa(1024).KeySetJson())}) {
    clock_.Advance(absl::Minutes(10));
    Answer(bad);
    EXPECT_EQ(keys->text(), first_);
    EXPECT_EQ(failing_.Value(), 1);
  }
  EXPECT_EQ(failed_.Value(), 3);
  EXPECT_EQ(changes_, 1);
  // Tried again soon, not only after ten minutes.
  clock_.Advance(absl::Minutes(1));
  Answer(second_);
  EXPECT_EQ(keys->text(), second_);
  EXPECT_EQ(failing_.Value(), 0);
}

TEST_F(RemoteKeysTest, AreLookedForMoreAndMoreSeldomWhileTheirServerIsDown) {
  auto keys = Start();
  int fetches = 0;
  for (int i = 0; i < 3600; ++i) {
    if (!open_.empty()) Answer(Down()), ++fetches;
    clock_.Advance(absl::Seconds(1));
  }
  EXPECT_GE(fetches, 60);
  EXPECT_LE(fetches, 140);
}

TEST_F(RemoteKeysTest, ATokensUnknownKeyMakesThemLookAgainButNotOften) {
  auto keys = Start();
  EXPECT_TRUE(keys->LookAgain()) << "already under way";
  EXPECT_EQ(asked_, 1);
  Answer(first_);
  EXPECT_FALSE(keys->LookAgain()) << "they are fresh";
  clock_.Advance(absl::Seconds(10));
  EXPECT_TRUE(keys->LookAgain());
  EXPECT_TRUE(keys->LookAgain());
  EXPECT_EQ(asked_, 2);
  Answer(second_);
  for (int i = 0; i < 1000; ++i) keys->LookAgain();
  EXPECT_EQ(asked_, 2);
}

TEST_F(RemoteKeysTest, HeedNothingAfterStop) {
  auto keys = Start();
  keys->Stop();
  Answer(first_);
  clock_.Advance(absl::Hours(1));
  EXPECT_FALSE(keys->LookAgain());
  EXPECT_EQ(asked_, 1);
  EXPECT_EQ(changes_, 0);
}

// A policy whose issuer's keys are fetched.
class PolicyWithRemoteKeys : public RemoteKeysTest {
 protected:
  std::string Json(const std::string& keys) {
    return absl::StrCat(R"({"jwt_issuers":[{"issuer":"https://issuer","audiences":["gateway"],)",
                        keys, R"(}],"callers":[{"name":"a","role":"ADMIN","jwts":[)",
                        R"({"issuer":"https://issuer","subject":"one"}]}]})");
  }
  absl::StatusOr<std::shared_ptr<const AccessPolicy>> Parse(const std::string& keys) {
    const auto file = [](const std::string&) -> absl::StatusOr<std::string> {
      return absl::InvalidArgumentError("cannot read it");
    };
    const auto remote = [&](const KeyLocation& location) {
      location_ = location;
      return remote_;
    };
    return AccessPolicy::Parse(Json(keys), "/folder", {file, remote}, nullptr);
  }
  std::string ErrorOf(const std::string& keys) {
    auto policy = Parse(keys);
    return policy.ok() ? "accepted" : std::string(policy.status().message());
  }
  std::string Token(const JwtSigner& signer, const std::string& kid) {
    return signer.Sign(absl::StrCat(R"({"iss":"https://issuer","aud":"gateway","sub":"one","exp":)",
                                    absl::ToUnixSeconds(clock_.Now()) + 600, "}"),
                       kid);
  }

  const std::string url_ = R"("jwks_url":"https://issuer/jwks")";
  std::shared_ptr<RemoteKeys> remote_ = Start();
  KeyLocation location_;
};

TEST_F(PolicyWithRemoteKeys, AnswersThatItCannotTellYetUntilTheyCome) {
  const JwtSigner signer = JwtSigner::Ec();
  auto without = Parse(url_);
  ASSERT_TRUE(without.ok()) << without.status();
  const auto early = (*without)->FindByToken(Token(signer, "k1"), clock_.Now());
  EXPECT_EQ(early.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(early.status()), pb::ErrorReason::ISSUER_KEYS_UNAVAILABLE);
  EXPECT_TRUE(RetryDelayOf(early.status()).has_value());
  Answer(signer.KeySetJson());
  auto with = Parse(url_);
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_EQ((*with)->FindByToken(Token(signer, "k1"), clock_.Now())->caller->identity, "a");
}

TEST_F(PolicyWithRemoteKeys, LooksForAnUnknownKeyOnceAndThenRefuses) {
  const JwtSigner signer = JwtSigner::Ec();
  Answer(signer.KeySetJson());
  auto policy = Parse(url_);
  ASSERT_TRUE(policy.ok()) << policy.status();
  const auto reason = [&] {
    return ReasonOf((*policy)->FindByToken(Token(signer, "k2"), clock_.Now()).status());
  };
  EXPECT_EQ(reason(), pb::ErrorReason::CREDENTIALS_INVALID);
  clock_.Advance(absl::Seconds(10));
  EXPECT_EQ(reason(), pb::ErrorReason::ISSUER_KEYS_UNAVAILABLE);
  EXPECT_EQ(asked_, 2);
  Answer(signer.KeySetJson());
  EXPECT_EQ(reason(), pb::ErrorReason::CREDENTIALS_INVALID);
  EXPECT_EQ(asked_, 2);
}

TEST_F(PolicyWithRemoteKeys, TakesHttpsUrlsAndOnThisMachineHttp) {
  EXPECT_EQ(ErrorOf(url_), "accepted");
  for (const char* good :
       {"http://127.0.0.1:8090/jwks", "http://localhost/jwks", "http://[::1]:1/x"})
    EXPECT_EQ(ErrorOf(absl::StrCat(R"("jwks_url":")", good, R"(")")), "accepted") << good;
  EXPECT_THAT(ErrorOf(R"("jwks_url":"http://issuer/jwks")"), HasSubstr("jwks_url must be https"));
  for (const char* bad : {"issuer/jwks", "ftp://issuer/", "file:///etc/passwd", "https://",
                          "https://a:b@issuer/", "https://issuer/#x", "https://issuer /"})
    EXPECT_THAT(ErrorOf(absl::StrCat(R"("jwks_url":")", bad, R"(")")), HasSubstr("jwks_url"))
        << bad;
  EXPECT_THAT(ErrorOf(R"("jwks_url":"https://a:canary@issuer/")"),
              ::testing::Not(HasSubstr("canary")));
}

TEST_F(PolicyWithRemoteKeys, TakesFilesForTheFetchFromThePolicysFolder) {
  EXPECT_EQ(ErrorOf(url_ + R"(,"jwks_ca_file":"ca.crt","jwks_token_file":"/run/token")"),
            "accepted");
  EXPECT_EQ(location_.ca_file, "/folder/ca.crt");
  EXPECT_EQ(location_.token_file, "/run/token");
  EXPECT_THAT(ErrorOf(R"("jwks_file":"keys.json","jwks_ca_file":"ca.crt")"),
              HasSubstr("jwks_ca_file"));
  EXPECT_THAT(ErrorOf(url_ + R"(,"jwks_file":"keys.json")"), HasSubstr("not both"));
  EXPECT_THAT(ErrorOf(R"("leeway":"0s")"), HasSubstr("jwks_url"));
}

}  // namespace
}  // namespace finetune
