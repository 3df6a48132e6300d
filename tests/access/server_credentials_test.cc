#include "server/access/server_credentials.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/access/certificates.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

// A real server with nothing behind its port, and clients that connect to it.
class ServerCertificatesTest : public testing::Test {
 protected:
  ServerCertificatesTest() : clock_(absl::Now()) {
    std::string name = testing::TempDir() + "/server-certificates-XXXXXX";
    folder_ = mkdtemp(name.data());
    files_ = {.cert = folder_ / "tls.crt", .key = folder_ / "tls.key", .client_ca = ""};
    Write(first_);
  }
  ~ServerCertificatesTest() override {
    if (server_) {
      server_->Shutdown();
      queue_->Shutdown();
      void* tag = nullptr;
      for (bool ok = false; queue_->Next(&tag, &ok);) {
      }
    }
    server_.reset();
    credentials_.reset();
    certificates_.reset();
    std::filesystem::remove_all(folder_);
  }

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  void Write(const TestCertificate& cert) {
    Write(files_.cert, cert.CertPem());
    Write(files_.key, cert.KeyPem());
  }

  void Start() {
    auto opened = ServerCertificates::Open(files_, rereader_, clock_, metrics_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    certificates_ = *std::move(opened);
    credentials_ = certificates_->MakeCredentials();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials_, &port_);
    builder.RegisterAsyncGenericService(&nothing_);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  // A new connection that trusts `authority`.
  std::shared_ptr<grpc::Channel> Connect(const TestCertificate& authority,
                                         const TestCertificate* client = nullptr) const {
    grpc::SslCredentialsOptions options = {.pem_root_certs = authority.CertPem(),
                                           .pem_private_key = client ? client->KeyPem() : "",
                                           .pem_cert_chain = client ? client->CertPem() : ""};
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("gateway");
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    auto channel = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_),
                                             grpc::SslCredentials(options), arguments);
    channel->GetState(/*try_to_connect=*/true);
    return channel;
  }
  static bool Succeeds(const std::shared_ptr<grpc::Channel>& channel) {
    grpc_connectivity_state state = channel->GetState(true);
    while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE) {
      channel->WaitForStateChange(state,
                                  std::chrono::system_clock::now() + std::chrono::seconds(20));
      state = channel->GetState(true);
    }
    return state == GRPC_CHANNEL_READY;
  }

  std::filesystem::path folder_;
  TlsFiles files_;
  const TestCertificate authority_{"ca"}, next_authority_{"next ca"};
  const TestCertificate first_{"gateway", &authority_}, second_{"gateway", &next_authority_};
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
  std::unique_ptr<ServerCertificates> certificates_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  grpc::AsyncGenericService nothing_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

TEST_F(ServerCertificatesTest, AreThoseOfTheFilesForNewConnectionsAndOldOnesGoOn) {
  Start();
  const auto old = Connect(authority_);
  EXPECT_TRUE(Succeeds(old));
  EXPECT_FALSE(Succeeds(Connect(next_authority_)));
  Write(second_);
  rereader_.LookNow();
  EXPECT_TRUE(Succeeds(Connect(next_authority_)));
  EXPECT_FALSE(Succeeds(Connect(authority_)));
  EXPECT_EQ(old->GetState(false), GRPC_CHANNEL_READY);
}

TEST_F(ServerCertificatesTest, StayWhileTheFilesAreBad) {
  Start();
  for (const std::string& path : {files_.cert, files_.key}) {
    const std::string kBad[] = {"", "junk", first_.CertPem().substr(0, 100), second_.KeyPem(),
                                second_.CertPem()};
    for (const std::string& bad : kBad) {
      Write(first_);
      Write(path, bad);
      rereader_.LookNow();
      EXPECT_TRUE(Succeeds(Connect(authority_))) << path << ": " << bad;
    }
    std::filesystem::remove(path);
    rereader_.LookNow();
    EXPECT_TRUE(Succeeds(Connect(authority_)));
    std::filesystem::create_directory(path);
    rereader_.LookNow();
    EXPECT_TRUE(Succeeds(Connect(authority_)));
    std::filesystem::remove(path);
  }
  Write(second_);
  rereader_.LookNow();
  EXPECT_TRUE(Succeeds(Connect(next_authority_)));
}

TEST_F(ServerCertificatesTest, AskClientsForOnesOfTheAuthoritiesInForce) {
  files_.client_ca = folder_ / "ca.crt";
  Write(files_.client_ca, authority_.CertPem());
  Start();
  const TestCertificate known{"a", &authority_}, next{"b", &next_authority_};
  EXPECT_TRUE(Succeeds(Connect(authority_, &known)));
  Write(files_.client_ca, "");
  rereader_.LookNow();
  EXPECT_TRUE(Succeeds(Connect(authority_, &known)));
  Write(files_.client_ca, next_authority_.CertPem());
  rereader_.LookNow();
  EXPECT_TRUE(Succeeds(Connect(authority_, &next)));
  EXPECT_FALSE(Succeeds(Connect(authority_, &known)));
  EXPECT_FALSE(Succeeds(Connect(authority_)));
}

TEST_F(ServerCertificatesTest, AreReplacedOnlyByOnesThatAreValidNow) {
  Start();
  const absl::Time now = clock_.Now();
  Write(TestCertificate("gateway", &next_authority_, now - absl::Hours(2), now - absl::Hours(1)));
  rereader_.LookNow();
  EXPECT_TRUE(Succeeds(Connect(authority_)));
  const TestCertificate soon("gateway", &next_authority_, now + absl::Minutes(1),
                             now + absl::Hours(9));
  Write(soon);
  rereader_.LookNow();
  EXPECT_TRUE(certificates_->validity().Includes(now));
  clock_.Advance(absl::Minutes(2));
  rereader_.LookNow();
  EXPECT_FALSE(certificates_->validity().Includes(now)) << "the next one, as soon as its time came";
}

TEST_F(ServerCertificatesTest, NameTheFileThatStopsTheStart) {
  Write(files_.key, second_.KeyPem());
  auto opened = ServerCertificates::Open(files_, rereader_, clock_, metrics_);
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(opened.status().message()), testing::HasSubstr("--tls_key_file"));
}

}  // namespace
}  // namespace finetune
