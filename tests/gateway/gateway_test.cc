#include "server/gateway.h"

#include <gmock/gmock.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/base/read_file.h"
#include "server/web/listeners.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The whole object graph, with a Segmind that is not there: nobody listens on its port.
class GatewayTest : public ::testing::Test {
 protected:
  GatewayTest() {
    std::string name = testing::TempDir() + "/gateway-XXXXXX";
    folder_ = mkdtemp(name.data());
    Write("key", "an-api-key");
  }
  ~GatewayTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  std::string Flag(const std::string& flag, const std::string& name) const {
    return absl::StrCat("--", flag, "=", (folder_ / name).string());
  }
  absl::StatusOr<std::unique_ptr<Gateway>> Make(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {
        "--listen=127.0.0.1:0",
        "--webhook_listen=127.0.0.1:0",
        "--admin_listen=127.0.0.1:0",
        "--upstream_url=http://127.0.0.1:1",
        "--drain_delay=0s",
        "--drain_time=2s",
        Flag("api_key_file", "key"),
        Flag("port_file", "ports"),
        absl::StrCat("--store=sqlite:", (folder_ / "store.db").string())};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto config = ReadConfig(arguments, {});
    EXPECT_TRUE(config.ok()) << config.status();
    return Gateway::Create(*config);
  }
  std::string ErrorOf(std::vector<std::string> more) const {
    const auto gateway = Make(std::move(more));
    return gateway.ok() ? "" : std::string(gateway.status().message());
  }
  // Of the door that is called so in the file of ports.
  int Port(const std::string& door) const {
    const std::string text = ReadFile(folder_ / "ports")->text;
    const size_t at = text.find(absl::StrCat("\"", door, "\": "));
    return at == std::string::npos ? 0 : std::stoi(text.substr(at + door.size() + 4));
  }

  std::filesystem::path folder_;
};

std::unique_ptr<grpc::ClientContext> Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  return context;
}

TEST_F(GatewayTest, ServesFromItsStartToItsDrain) {
  auto gateway = Make();
  ASSERT_TRUE(gateway.ok()) << gateway.status();
  ASSERT_TRUE((*gateway)->Start().ok());
  for (const char* door : {"grpc", "webhook", "admin"}) EXPECT_GT(Port(door), 0) << door;
  const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", Port("grpc")),
                                           grpc::InsecureChannelCredentials());
  const auto stub = pb::FineTuneService::NewStub(channel);
  pb::GatewayStatus status;
  ASSERT_TRUE(stub->GetGatewayStatus(Context().get(), {}, &status).ok());
  EXPECT_EQ(status.version(), FINETUNE_VERSION);
  EXPECT_EQ(status.fine_tune_count(), 0);
  // Nothing is in the record, and Segmind cannot be read: nobody is to be sent here.
  grpc::health::v1::HealthCheckResponse health;
  ASSERT_TRUE(grpc::health::v1::Health::NewStub(channel)->Check(Context().get(), {}, &health).ok());
  EXPECT_EQ(health.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  (*gateway)->Drain();
  EXPECT_EQ(stub->GetGatewayStatus(Context().get(), {}, &status).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GatewayTest, OneThatWasNeverStartedGoesQuietly) {
  auto gateway = Make();
  ASSERT_TRUE(gateway.ok()) << gateway.status();
  gateway->reset();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "ports"));
  // Its record is free again.
  EXPECT_TRUE(Make().ok());
}

TEST_F(GatewayTest, NamesTheFlagOfWhatItCannotOpen) {
  Write("bad-policy", "{}");
  Write("bad-tokens", "short");
  Write("bad.db", "this is none");
  EXPECT_THAT(ErrorOf({Flag("policy_file", "bad-policy")}), HasSubstr("--policy_file: "));
  EXPECT_THAT(ErrorOf({Flag("api_key_file", "none")}), HasSubstr("--api_key_file: "));
  EXPECT_THAT(ErrorOf({Flag("webhook_token_file", "bad-tokens")}),
              HasSubstr("--webhook_token_file: "));
  EXPECT_THAT(ErrorOf({Flag("upstream_ca_file", "none")}), HasSubstr("--upstream_ca_file: "));
  EXPECT_THAT(ErrorOf({"--transfer_hosts=a//b"}), HasSubstr("--transfer_hosts: "));
  EXPECT_THAT(ErrorOf({absl::StrCat("--store=sqlite:", (folder_ / "bad.db").string())}),
              AllOf(HasSubstr("--store: "), HasSubstr("bad.db")));
}

TEST_F(GatewayTest, NamesTheDoorThatItCannotOpen) {
  const auto taken = Listeners::Open("127.0.0.1", 0);
  ASSERT_TRUE(taken.ok());
  for (const std::string flag : {"listen", "webhook_listen", "admin_listen"}) {
    auto gateway = Make({absl::StrCat("--", flag, "=127.0.0.1:", taken->port())});
    ASSERT_TRUE(gateway.ok()) << gateway.status();
    const absl::Status started = (*gateway)->Start();
    EXPECT_THAT(std::string(started.message()), HasSubstr(absl::StrCat("--", flag, ": ")));
  }
}

}  // namespace
}  // namespace finetune
