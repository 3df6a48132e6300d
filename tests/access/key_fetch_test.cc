#include "server/access/key_fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "server/base/read_file.h"
#include "tests/access/certificates.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Answers at once, and keeps what was asked and what the authorities were then.
class Asked : public HttpClient {
 public:
  void Start(HttpRequest request, Done done) override {
    authorities = request.ca_file.empty() ? "" : ReadFile(request.ca_file)->text;
    token = request.secret_headers.empty() ? "" : request.secret_headers[0].second.Reveal();
    ++times;
    HttpResult result;
    result.response.code = code;
    result.response.body = "keys";
    std::move(done)(std::move(result));
  }
  void Shutdown() override {}

  int code = 200;
  int times = 0;
  std::string authorities, token;
};

class KeyFetchTest : public testing::Test {
 protected:
  KeyFetchTest() {
    std::string name = testing::TempDir() + "/key-fetch-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~KeyFetchTest() override { std::filesystem::remove_all(folder_); }

  void Write(const char* name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  FetchKeys Make() {
    return MakeKeyFetch(http_, rereader_)({.url = "https://issuer/jwks",
                                           .ca_file = folder_ / "ca.pem",
                                           .token_file = folder_ / "token"});
  }
  static absl::StatusOr<std::string> Run(const FetchKeys& fetch) {
    std::optional<absl::StatusOr<std::string>> result;
    fetch([&](absl::StatusOr<std::string> keys) { result = std::move(keys); });
    return *result;
  }

  std::filesystem::path folder_;
  const TestCertificate first_{"first"}, second_{"second"};
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
  Asked http_;
};

TEST_F(KeyFetchTest, ABadFileNeverTakesTheGoodOnesPlace) {
  Write("ca.pem", first_.CertPem());
  Write("token", " one\n");
  const FetchKeys fetch = Make();
  ASSERT_EQ(Run(fetch).value(), "keys");
  EXPECT_EQ(http_.authorities, first_.CertPem());
  EXPECT_EQ(http_.token, "Bearer one");
  for (const std::string& bad :
       {std::string(), std::string(" \n"), std::string("junk\nx: y"), std::string("a\0b", 3)}) {
    Write("ca.pem", bad);
    Write("token", bad);
    rereader_.LookNow();
    ASSERT_TRUE(Run(fetch).ok()) << bad;
    EXPECT_EQ(http_.authorities, first_.CertPem());
    EXPECT_EQ(http_.token, "Bearer one");
  }
  std::filesystem::remove(folder_ / "ca.pem");
  std::filesystem::remove(folder_ / "token");
  rereader_.LookNow();
  ASSERT_TRUE(Run(fetch).ok());
  EXPECT_EQ(http_.authorities, first_.CertPem());
  Write("ca.pem", second_.CertPem());
  Write("token", "two");
  rereader_.LookNow();
  ASSERT_TRUE(Run(fetch).ok());
  EXPECT_EQ(http_.authorities, second_.CertPem());
  EXPECT_EQ(http_.token, "Bearer two");
}

TEST_F(KeyFetchTest, WithoutAGoodFileNothingIsAskedUntilThereIsOne) {
  const FetchKeys fetch = Make();
  EXPECT_THAT(std::string(Run(fetch).status().message()), HasSubstr("ca.pem"));
  Write("ca.pem", "junk");
  EXPECT_THAT(std::string(Run(fetch).status().message()), HasSubstr("ca.pem"));
  Write("ca.pem", first_.CertPem());
  EXPECT_THAT(std::string(Run(fetch).status().message()), HasSubstr("token"));
  Write("token", "");
  EXPECT_THAT(std::string(Run(fetch).status().message()), HasSubstr("holds no token"));
  EXPECT_EQ(http_.times, 0);
  Write("token", "one");
  EXPECT_TRUE(Run(fetch).ok());
}

TEST_F(KeyFetchTest, OnlyA200BringsKeys) {
  Write("ca.pem", first_.CertPem());
  Write("token", "one");
  const FetchKeys fetch = Make();
  for (const int code : {204, 301, 302, 401, 500}) {
    http_.code = code;
    EXPECT_TRUE(absl::IsUnavailable(Run(fetch).status())) << code;
  }
}

}  // namespace
}  // namespace finetune
