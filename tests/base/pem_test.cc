#include "server/base/pem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/access/certificates.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

TEST(Pem, ReadsAllCertificatesOfAText) {
  const TestCertificate one("one"), two("two");
  const PemCertificates read = ReadPemCertificates(one.CertPem() + "\nwords\n" + two.CertPem());
  EXPECT_EQ(read.found.size(), 2u);
  EXPECT_EQ(read.fault, "");
  EXPECT_TRUE(ReadPemCertificates("").found.empty());
  EXPECT_EQ(ReadPemCertificates("no PEM").fault, "");
}

TEST(Pem, SaysWhyACertificateCannotBeRead) {
  const TestCertificate one("one");
  const PemCertificates read = ReadPemCertificates(
      one.CertPem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  EXPECT_EQ(read.found.size(), 1u);
  EXPECT_NE(read.fault, "");
}

TEST(Pem, ReadsAKeyThatNeedsNoPassPhrase) {
  const TestCertificate one("one");
  const auto key = ReadPemKey(one.KeyPem(), "a.key");
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_NE(key->get(), nullptr);
  EXPECT_THAT(ReadPemKey(one.KeyPemWithPassPhrase(), "a.key").status().ToString(),
              HasSubstr("holds a key with a pass phrase; `openssl pkey -in a.key -out FILE`"));
  EXPECT_THAT(ReadPemKey(one.CertPem(), "a.key").status().ToString(),
              HasSubstr("holds no PEM private key"));
}

}  // namespace
}  // namespace finetune
