#include "server/access/policy_authenticator.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/test/server_context_test_spouse.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "server/base/error.h"
#include "tests/access/policy_samples.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

// Certificates come with connections: e2e/access_test.py.
class PolicyAuthenticatorTest : public ::testing::Test {
 protected:
  PolicyAuthenticatorTest() {
    Write(PolicyOf(OneCaller()));
    auto policy = PolicyFile::Open(path_, nullptr, rereader_, clock_, metrics_);
    EXPECT_TRUE(policy.ok()) << policy.status();
    policy_ = *std::move(policy);
    authenticator_ = MakePolicyAuthenticator(*policy_);
  }
  ~PolicyAuthenticatorTest() override { std::filesystem::remove(path_); }

  void Write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  // Who that is; or the reason why it is nobody.
  std::string Who(const std::vector<std::string>& authorizations) {
    grpc::ServerContext context;
    grpc::testing::ServerContextTestSpouse metadata(&context);
    for (const std::string& value : authorizations)
      metadata.AddClientMetadata("authorization", value);
    const auto admission = authenticator_->Authenticate(context, clock_.WallNow());
    if (admission.ok()) return admission->caller->identity;
    EXPECT_EQ(admission.status().code(), absl::StatusCode::kUnauthenticated);
    return pb::ErrorReason::Reason_Name(ReasonOf(admission.status()));
  }

  const std::string path_ =
      std::filesystem::temp_directory_path() /
      absl::StrCat("authenticator-", getpid(), "-",
                   ::testing::UnitTest::GetInstance()->current_test_info()->name());
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
  std::unique_ptr<PolicyFile> policy_;
  std::unique_ptr<Authenticator> authenticator_;
};

TEST_F(PolicyAuthenticatorTest, KnowsWhoSendsATokenHoweverTheSchemeIsWritten) {
  for (const char* scheme : {"Bearer ", "bearer ", "BEARER   "})
    EXPECT_EQ(Who({absl::StrCat(scheme, kToken)}), "indexer") << scheme;
  EXPECT_EQ(Who({absl::StrCat("Bearer ", kToken, " ")}), "indexer");
}

TEST_F(PolicyAuthenticatorTest, RefusesWhatIsNoKnownToken) {
  for (const std::string& value :
       {std::string(), std::string("Bearer"), std::string("Bearer "), std::string(kToken),
        absl::StrCat("Basic ", kToken), absl::StrCat("Bearer ", kToken, "x"),
        absl::StrCat("Bearer  x ", kToken), absl::StrCat("Bearer", kToken)})
    EXPECT_EQ(Who({value}), "CREDENTIALS_INVALID") << value;
}

TEST_F(PolicyAuthenticatorTest, OfTwoTokensItTakesNone) {
  const std::string good = absl::StrCat("Bearer ", kToken);
  EXPECT_EQ(Who({good, good}), "CREDENTIALS_INVALID");
  EXPECT_EQ(Who({good, "Bearer other"}), "CREDENTIALS_INVALID");
}

TEST_F(PolicyAuthenticatorTest, SaysWhatIsMissingWhereThereIsNothing) {
  EXPECT_EQ(Who({}), "CREDENTIALS_MISSING");
}

TEST_F(PolicyAuthenticatorTest, GoesByThePolicyInForce) {
  Write(PolicyOf(OneCaller("", "other", "another-token-0123456789")));
  rereader_.LookNow();
  EXPECT_EQ(Who({absl::StrCat("Bearer ", kToken)}), "CREDENTIALS_INVALID");
  EXPECT_EQ(Who({"Bearer another-token-0123456789"}), "other");
}

}  // namespace
}  // namespace finetune
