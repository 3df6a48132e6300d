#include "server/access/authorities_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/base/read_file.h"
#include "tests/access/certificates.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

class AuthoritiesFileTest : public testing::Test {
 protected:
  AuthoritiesFileTest() {
    std::string name = testing::TempDir() + "/authorities-XXXXXX";
    folder_ = mkdtemp(name.data());
    source_ = folder_ / "ca.pem";
  }
  ~AuthoritiesFileTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& text) const { std::ofstream(source_) << text; }
  static std::string TextOf(const AuthoritiesFile& file) { return ReadFile(file.path())->text; }

  std::filesystem::path folder_, source_;
  const TestCertificate first_{"first"}, second_{"second"};
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
};

TEST_F(AuthoritiesFileTest, HoldsWhatWasCheckedLastUnderOnePath) {
  Write("# ours\n" + first_.CertPem());
  auto file = AuthoritiesFile::Open("ca", source_, rereader_);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string path = (*file)->path();
  EXPECT_EQ(TextOf(**file), first_.CertPem());
  for (const std::string& bad :
       {std::string(), std::string("junk"), first_.KeyPem(), second_.CertPem().substr(0, 300)}) {
    Write(bad);
    rereader_.LookNow();
    EXPECT_EQ(TextOf(**file), first_.CertPem()) << bad;
  }
  std::filesystem::remove(source_);
  rereader_.LookNow();
  EXPECT_EQ(TextOf(**file), first_.CertPem());
  Write(second_.CertPem() + first_.CertPem());
  rereader_.LookNow();
  EXPECT_EQ(TextOf(**file), second_.CertPem() + first_.CertPem());
  EXPECT_EQ((*file)->path(), path);
}

TEST_F(AuthoritiesFileTest, NamesTheFileThatStopsTheStart) {
  Write("junk");
  EXPECT_THAT(std::string(AuthoritiesFile::Open("ca", source_, rereader_).status().message()),
              testing::HasSubstr("ca.pem' holds no PEM certificate"));
  EXPECT_FALSE(AuthoritiesFile::Open("ca", "/nowhere/ca.pem", rereader_).ok());
}

}  // namespace
}  // namespace finetune
