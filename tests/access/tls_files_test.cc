#include "server/access/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "tests/access/certificates.h"

namespace finetune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class TlsFilesTest : public testing::Test {
 protected:
  absl::StatusOr<TlsMaterial> Read() {
    return ReadTlsMaterial(files_, [this](const std::string& path) -> absl::StatusOr<std::string> {
      const auto found = texts_.find(path);
      if (found == texts_.end()) return absl::InvalidArgumentError(absl::StrCat("no ", path));
      return found->second;
    });
  }
  std::string ErrorWith(const std::string& file, const std::string& text) {
    const auto before = texts_;
    texts_[file] = text;
    auto read = Read();
    texts_ = before;
    return read.ok() ? "taken" : std::string(read.status().message());
  }

  const TestCertificate authority_{"ca"};
  const TestCertificate cert_{"gateway", &authority_};
  const TestCertificate other_{"other", &authority_};
  TlsFiles files_ = {.cert = "tls.crt", .key = "tls.key", .client_ca = "ca.crt"};
  std::map<std::string, std::string> texts_ = {
      {"tls.crt", cert_.CertPem()}, {"tls.key", cert_.KeyPem()}, {"ca.crt", authority_.CertPem()}};
};

TEST_F(TlsFilesTest, AreTakenWithWhateverStandsAroundThePem) {
  const auto plain = Read();
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->cert_chain, cert_.CertPem());
  EXPECT_TRUE(plain->validity.Includes(absl::Now()));
  texts_["tls.crt"] = absl::StrCat("Bag Attributes\r\n", cert_.CertPem(), "\n# the issuer\n",
                                   authority_.CertPem(), "\n\n");
  texts_["tls.key"] = absl::StrCat("engine:nonsense\n", cert_.KeyPem(), std::string(3, '\0'));
  texts_["ca.crt"] = authority_.CertPem() + other_.CertPem() + authority_.CertPem();
  const auto read = Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->cert_chain, cert_.CertPem() + authority_.CertPem());
  EXPECT_EQ(read->key, plain->key);
  EXPECT_THAT(read->key, AllOf(HasSubstr("BEGIN PRIVATE KEY"), Not(HasSubstr("engine"))));
}

TEST_F(TlsFilesTest, AreRefusedWhereGrpcWouldNotTakeThem) {
  const std::string half = cert_.CertPem().substr(0, 200);
  for (const std::string& bad :
       {std::string(), std::string("hello"), half, std::string("\x30\x82\x01\x00", 4),
        cert_.KeyPem(), std::string(100'000, '-'), std::string(1000, '\0')}) {
    EXPECT_THAT(ErrorWith("tls.crt", bad), HasSubstr("--tls_cert_file: 'tls.crt'")) << bad;
    EXPECT_THAT(ErrorWith("ca.crt", bad), HasSubstr("--tls_client_ca_file: 'ca.crt'")) << bad;
  }
  for (const std::string& bad : {std::string(), std::string("hello"), cert_.CertPem(),
                                 cert_.KeyPem().substr(0, 60), std::string(1000, '\0')})
    EXPECT_THAT(ErrorWith("tls.key", bad), HasSubstr("holds no PEM private key")) << bad;
  EXPECT_THAT(ErrorWith("tls.key", other_.KeyPem()), HasSubstr("does not belong"));
  EXPECT_THAT(ErrorWith("tls.key", cert_.KeyPemWithPassPhrase()), HasSubstr("pass phrase"));
  // One good certificate does not hide a bad one behind it.
  for (const char* file : {"tls.crt", "ca.crt"})
    EXPECT_THAT(ErrorWith(file, texts_[file] + half), HasSubstr("certificate 2 cannot be read"));
}

TEST_F(TlsFilesTest, AreNamedWhereTheyCannotBeRead) {
  for (const char* file : {"tls.crt", "tls.key", "ca.crt"}) {
    const auto before = texts_;
    texts_.erase(file);
    EXPECT_THAT(std::string(Read().status().message()), HasSubstr(absl::StrCat("no ", file)));
    texts_ = before;
  }
  files_.key.clear();
  EXPECT_THAT(std::string(Read().status().message()), HasSubstr("needs --tls_key_file"));
  EXPECT_FALSE(CheckTlsFlags({.cert = "", .key = "k", .client_ca = ""}).ok());
  EXPECT_FALSE(CheckTlsFlags({.cert = "", .key = "", .client_ca = "a"}).ok());
  EXPECT_TRUE(CheckTlsFlags({}).ok());
}

TEST_F(TlsFilesTest, LeaveNoErrorBehindForOthersToFind) {
  ErrorWith("tls.crt", "hello");
  ErrorWith("tls.key", other_.KeyPem());
  EXPECT_EQ(ERR_peek_error(), 0u);
}

}  // namespace
}  // namespace finetune
