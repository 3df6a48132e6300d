#include "server/startup_warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class StartupWarnings : public testing::Test {
 protected:
  StartupWarnings() {
    std::string name = testing::TempDir() + "/warnings-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~StartupWarnings() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name, int mode) {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path) << "a secret";
    std::filesystem::permissions(path, static_cast<std::filesystem::perms>(mode));
    return path;
  }

  std::shared_ptr<const AccessPolicy> Policy(const std::string& way) {
    auto policy = AccessPolicy::Parse(
        absl::StrCat(R"({"callers": [{"name": "a", "role": "VIEWER", )", way, "}]}"), ".",
        {[](const std::string&) { return absl::NotFoundError(""); },
         [](const KeyLocation&) { return nullptr; }},
        nullptr);
    EXPECT_TRUE(policy.ok()) << policy.status();
    return *std::move(policy);
  }

  std::filesystem::path folder_;
};

TEST_F(StartupWarnings, AreSecretsThatEverybodyMayRead) {
  Config config;
  config.api_key_file = File("key", 0640);
  config.webhook_token_file = File("token", 0600);
  EXPECT_THAT(FindStartupWarnings(config, nullptr, nullptr, absl::Now()), IsEmpty());
  config.webhook_token_file = File("open", 0644);
  EXPECT_THAT(FindStartupWarnings(config, nullptr, nullptr, absl::Now()),
              ElementsAre(HasSubstr("open'")));
}

TEST_F(StartupWarnings, AreCertificatesWhoseTimeIsNot) {
  Config config;
  config.tls.cert = "tls.crt";
  const absl::Time now = absl::Now();
  const Validity thirty_days = {now, now + absl::Hours(24 * 30)};
  const auto in = [&](int days) {
    return FindStartupWarnings(config, &thirty_days, nullptr, now + absl::Hours(24 * days));
  };
  EXPECT_THAT(in(0), IsEmpty());
  EXPECT_THAT(in(22), IsEmpty());
  EXPECT_THAT(in(24), ElementsAre(HasSubstr("expires on")));
  EXPECT_THAT(in(31), ElementsAre(HasSubstr("'tls.crt' expired on")));
  EXPECT_THAT(in(-1), ElementsAre(HasSubstr("valid only from")));
}

TEST_F(StartupWarnings, AreCallersWithCertificatesThatNobodyAsksFor) {
  Config config;
  const auto by_certificate = Policy(R"("spiffe_ids": ["spiffe://a/b"])");
  EXPECT_THAT(FindStartupWarnings(config, nullptr, by_certificate.get(), absl::Now()), SizeIs(1));
  config.tls.client_ca = "ca.crt";
  EXPECT_THAT(FindStartupWarnings(config, nullptr, by_certificate.get(), absl::Now()), IsEmpty());
  config.tls.client_ca.clear();
  const auto by_token =
      Policy(absl::StrCat(R"("bearer_token_sha256": [")", std::string(64, 'a'), R"("])"));
  EXPECT_THAT(FindStartupWarnings(config, nullptr, by_token.get(), absl::Now()), IsEmpty());
}

}  // namespace
}  // namespace finetune
