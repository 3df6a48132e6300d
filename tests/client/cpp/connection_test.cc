#include "client/cpp/connection.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "server/base/uuid.h"
#include "tests/access/certificates.h"

namespace finetune {
namespace {

using testing::HasSubstr;

class Connections : public testing::Test {
 protected:
  Connections() {
    folder_ = std::filesystem::temp_directory_path() / ("connection_test." + MakeUuid());
    std::filesystem::create_directory(folder_);
  }
  ~Connections() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ / name; }
  // Replaces the file as a whole, so that its stamp is another one.
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(Path(name + ".new"), std::ios::binary) << content;
    std::filesystem::rename(Path(name + ".new"), Path(name));
  }
  void WritePair(const TestCertificate& certificate) {
    Write("tls.crt", certificate.CertPem());
    Write("tls.key", certificate.KeyPem());
  }
  // A pipe that gives the content once, as `<(cat file)` of a shell.
  std::string Pipe(const std::string& content) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    EXPECT_EQ(write(ends[1], content.data(), content.size()), static_cast<ssize_t>(content.size()));
    close(ends[1]);
    return "/dev/fd/" + std::to_string(ends[0]);
  }
  std::string Refusal(const ConnectOptions& options, const std::string& target = "localhost:1") {
    return std::string(Connection::Open(target, options).status().message());
  }

  std::filesystem::path folder_;
};

TEST_F(Connections, TheTokenFileIsReadAgainWhenItChanges) {
  Write("token", "first\n");
  auto connection = *Connection::Open("localhost:1", {.token_file = Path("token")});
  EXPECT_EQ(*connection->Authorization(), "Bearer first");
  Write("token", "the second\n");
  EXPECT_EQ(*connection->Authorization(), "Bearer first") << "a space is no part of a token";
  Write("token", "");
  EXPECT_EQ(*connection->Authorization(), "Bearer first");
  std::filesystem::remove(Path("token"));
  EXPECT_EQ(*connection->Authorization(), "Bearer first");
  Write("token", "second-one\n");
  EXPECT_EQ(*connection->Authorization(), "Bearer second-one");
  // Of the same length, and at once.
  std::ofstream(Path("token")) << "third--one\n";
  EXPECT_EQ(*connection->Authorization(), "Bearer third--one");
}

TEST_F(Connections, NobodyWaitsForEverForOneThatDoesNotCome) {
  auto connection =
      *Connection::Open("unix:" + Path("nobody"), {.connect_timeout = absl::ZeroDuration()});
  EXPECT_EQ(connection->AwaitReady().code(), absl::StatusCode::kUnavailable);
  auto patient =
      *Connection::Open("unix:" + Path("nobody"), {.connect_timeout = absl::InfiniteDuration()});
  patient->Close();
  EXPECT_EQ(patient->AwaitReady().code(), absl::StatusCode::kCancelled);
  auto hasty = *Connection::Open("unix:" + Path("nobody"), {.wait_for_ready = false});
  EXPECT_TRUE(hasty->AwaitReady().ok()) << "the call itself says so";
}

TEST_F(Connections, WhatCanBeReadOnceIsReadOnce) {
  auto connection = Connection::Open("localhost:1", {.token_file = Pipe("piped\n")});
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(*(*connection)->Authorization(), "Bearer piped");
  EXPECT_EQ(*(*connection)->Authorization(), "Bearer piped");

  const TestCertificate authority("ca"), own("client", &authority);
  connection = Connection::Open("localhost:1", {.tls_ca = Pipe(authority.CertPem()),
                                                .tls_cert = Pipe(own.CertPem()),
                                                .tls_key = Pipe(own.KeyPem())});
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ((*connection)->tls_pem().key, own.KeyPem());
}

TEST_F(Connections, AFifoIsWaitedFor) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(Path("fifo")) << "late\n"; });
  auto connection = Connection::Open("localhost:1", {.token_file = Path("fifo")});
  writer.join();
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(*(*connection)->Authorization(), "Bearer late");
}

TEST_F(Connections, OptionsThatCannotWorkAreRefusedAtOnce) {
  Write("token", "t");
  EXPECT_THAT(Refusal({.token_file = Path("token")}, "gateway.example:50051"),
              HasSubstr("without encryption"));
  EXPECT_EQ(Refusal({.token_file = Path("token")}), "");
  EXPECT_THAT(Refusal({.token_file = Path("missing")}), HasSubstr("missing"));
  EXPECT_THAT(Refusal({.tls_cert = Path("token")}), HasSubstr("needs its key"));
  EXPECT_THAT(Refusal({.tls_ca = folder_}), HasSubstr("irectory"));
}

TEST_F(Connections, FilesThatHoldSomethingElseAreRefusedAtOnce) {
  const auto token = [&](const std::string& content) {
    Write("file", content);
    return Refusal({.token_file = Path("file")});
  };
  EXPECT_THAT(token(""), HasSubstr("is empty"));
  EXPECT_THAT(token(" \n"), HasSubstr("holds no token"));
  EXPECT_THAT(token("one\ntwo\n"), HasSubstr("the token alone"));
  EXPECT_THAT(token("Bearer abc"), HasSubstr("without 'Bearer'"));
  EXPECT_THAT(token("t\xc3\xb6ken"), HasSubstr("plain text"));
  EXPECT_THAT(token(std::string(16'000, 'a')), HasSubstr("15 KiB"));
  EXPECT_EQ(token("\xef\xbb\xbf"
                  "abc\r\n"),
            "");
  EXPECT_THAT(Refusal({.token_file = "/dev/zero"}), HasSubstr("more than"));

  const TestCertificate one("one"), other("other");
  Write("text", "abc");
  Write("one.crt", one.CertPem());
  Write("one.key", one.KeyPem());
  Write("other.key", other.KeyPem());
  Write("locked.key", one.KeyPemWithPassPhrase());
  EXPECT_THAT(Refusal({.tls_ca = Path("text")}), HasSubstr("no PEM certificate"));
  const auto pair = [&](const char* cert, const char* key) {
    return Refusal({.tls_cert = Path(cert), .tls_key = Path(key)});
  };
  EXPECT_EQ(pair("one.crt", "one.key"), "");
  EXPECT_THAT(pair("text", "one.key"), HasSubstr("no PEM certificate"));
  EXPECT_THAT(pair("one.crt", "text"), HasSubstr("no PEM private key"));
  EXPECT_THAT(pair("one.crt", "other.key"), HasSubstr("does not belong"));
  EXPECT_THAT(pair("one.crt", "locked.key"), HasSubstr("pass phrase"));
}

TEST_F(Connections, OnlyAGoodSetOfTlsFilesReplacesTheOneBefore) {
  const TestCertificate authority("ca"), first("client", &authority), second("client", &authority);
  Write("ca.crt", authority.CertPem());
  WritePair(first);
  TlsFiles files(Path("ca.crt"), Path("tls.crt"), Path("tls.key"));
  ASSERT_TRUE(files.Look().ok());
  const TlsPem good = files.pem();
  const auto kept = [&] {
    EXPECT_FALSE(files.Look().ok());
    return files.pem() == good;
  };
  // Truncated in place, as `: > tls.crt` does; a folder in its place; one of the pair alone.
  std::ofstream(Path("tls.crt"), std::ios::trunc).close();
  EXPECT_TRUE(kept());
  std::filesystem::remove(Path("tls.crt"));
  std::filesystem::create_directory(Path("tls.crt"));
  EXPECT_TRUE(kept());
  std::filesystem::remove(Path("tls.crt"));
  EXPECT_TRUE(kept());
  Write("tls.crt", second.CertPem());
  EXPECT_TRUE(kept());
  Write("tls.key", second.KeyPem());
  ASSERT_TRUE(files.Look().ok());
  EXPECT_EQ(files.pem().cert, second.CertPem());
  Write("ca.crt", "");
  EXPECT_FALSE(files.Look().ok());
  EXPECT_EQ(files.pem().ca, authority.CertPem());
}

}  // namespace
}  // namespace finetune
