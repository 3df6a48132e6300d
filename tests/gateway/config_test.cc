#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/flags.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<Config> Read(const std::vector<std::string>& arguments) {
    return ReadConfig(arguments, environment_);
  }
  std::string ErrorOf(const std::vector<std::string>& arguments) {
    auto config = Read(arguments);
    return config.ok() ? "" : std::string(config.status().message());
  }

  Environment environment_ = {{"HOME", "/home/someone"}};
};

TEST_F(ConfigTest, HasDefaults) {
  auto config = Read({});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen.host, "127.0.0.1");
  EXPECT_EQ(config->listen.port, 50051);
  EXPECT_EQ(config->upstream_url, "https://api.segmind.com");
  EXPECT_EQ(config->sqlite_path, "/home/someone/.local/state/finetune-gateway/store.db");
  EXPECT_TRUE(config->markers);
}

TEST_F(ConfigTest, ReadsFlagsInAnyForm) {
  auto config = Read({"--listen", "127.0.0.1:0", "--active_poll_interval=200ms", "--nomarkers",
                      "--reflection=false", "--channelz", "--settle_lists", "5"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen.port, 0);
  EXPECT_EQ(config->active_poll_interval, absl::Milliseconds(200));
  EXPECT_FALSE(config->markers);
  EXPECT_FALSE(config->reflection);
  EXPECT_TRUE(config->channelz);
  EXPECT_EQ(config->settle_lists, 5);
}

TEST_F(ConfigTest, ShowsThePageUnlessThereIsAPolicyAndNobodyAskedForIt) {
  EXPECT_TRUE(Read({})->page);
  EXPECT_FALSE(Read({"--nopage"})->page);
  EXPECT_FALSE(Read({"--policy_file=p"})->page);
  EXPECT_TRUE(Read({"--policy_file=p", "--page"})->page);
  EXPECT_THAT(Read({"--page_hosts=a.example,b.example"})->page_hosts,
              ElementsAre("a.example", "b.example"));
}

TEST_F(ConfigTest, ReadsTheEnvironmentAndTheFlagWins) {
  environment_["FINETUNE_GATEWAY_SETTLE_LISTS"] = "7";
  environment_["FINETUNE_GATEWAY_LISTEN"] = "127.0.0.1:1";
  auto config = Read({"--listen=127.0.0.1:2"});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->settle_lists, 7);
  EXPECT_EQ(config->listen.port, 2);
}

TEST_F(ConfigTest, NamesTheVariableThatIsBad) {
  environment_["FINETUNE_GATEWAY_ACTIVE_POLL_INTERVAL"] = "soon";
  EXPECT_THAT(ErrorOf({}), HasSubstr("FINETUNE_GATEWAY_ACTIVE_POLL_INTERVAL: 'soon' is not a "
                                     "duration"));
}

TEST_F(ConfigTest, RefusesBadValuesNamingTheFlag) {
  const std::vector<std::pair<std::string, std::string>> kBad = {
      {"listen", "127.0.0.1"},
      {"listen", ":1"},
      {"listen", "127.0.0.1:99999"},
      {"listen", "::1:5"},
      {"listen", "0.0.0.0:1"},
      {"upstream_url", "not a url"},
      {"upstream_url", "ftp://x"},
      {"upstream_url", "https://u:p@x"},
      {"upstream_url", "https://"},
      {"store", "mysql:x"},
      {"store", "postgresql:x"},
      {"active_poll_interval", "0s"},
      {"active_poll_interval", "inf"},
      {"idle_poll_interval", "1s"},
      {"log_level", "loud"},
      {"settle_lists", "0"},
      {"upstream_calls_per_minute", "0"},
      {"settle_lists", "many"},
      {"markers", "perhaps"},
  };
  for (const auto& [flag, value] : kBad) {
    EXPECT_THAT(ErrorOf({absl::StrCat("--", flag, "=", value)}),
                HasSubstr(absl::StrCat("--", flag)))
        << value;
  }
}

TEST_F(ConfigTest, TakesTheAddressOfADatabaseAsItIs) {
  auto config = Read({"--store=postgresql://u@h/db"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->postgres_url, "postgresql://u@h/db");
  EXPECT_EQ(config->sqlite_path, "");
  EXPECT_THAT(ErrorOf({"--store=mysql://u:secret@h/db"}), Not(HasSubstr("secret")));
}

TEST_F(ConfigTest, OthersMayHaveSubmittedUntilTheyCountAsGone) {
  const std::string store = "--store=postgresql://u@h/db";
  EXPECT_THAT(ErrorOf({store, "--settle_time=67s"}), HasSubstr("--settle_time"));
  EXPECT_TRUE(Read({store, "--settle_time=68s"}).ok());
  EXPECT_TRUE(Read({"--store=sqlite:/x", "--settle_time=1s"}).ok());
}

TEST_F(ConfigTest, HintsAtTheFlagThatWasMeant) {
  EXPECT_EQ(Read({"--lisen=x"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ErrorOf({"--lisen=x"}), HasSubstr("did you mean --listen?"));
  EXPECT_EQ(Read({"stray"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Read({"--flagfile=/etc/passwd"}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ConfigTest, OpensToOthersOnlyWhenAsked) {
  EXPECT_THAT(ErrorOf({"--listen=0.0.0.0:1"}), HasSubstr("--allow_insecure"));
  EXPECT_TRUE(Read({"--listen=0.0.0.0:1", "--allow_insecure"}).ok());
  EXPECT_TRUE(Read({"--listen=0.0.0.0:1", "--noallow_insecure", "--tls_cert_file=c",
                    "--tls_key_file=k", "--policy_file=p"})
                  .ok());
}

TEST_F(ConfigTest, ShowsNothingForDebuggingBesideAPolicyUnlessAsked) {
  auto config = Read({"--policy_file=p", "--channelz"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->reflection);
  EXPECT_TRUE(config->channelz);
}

TEST_F(ConfigTest, ReadsEveryFlagFromEachOfItsPlacesWithItsDefault) {
  for (const Flag& flag : Flags()) {
    EXPECT_THAT(HelpText(), HasSubstr(absl::StrCat("  --", flag.name, " (", flag.fallback, ")\n")));
    EXPECT_TRUE(Read({absl::StrCat("--", flag.name, "=", flag.fallback)}).ok()) << flag.name;
    environment_ = {{"HOME", "/h"},
                    {absl::StrCat("FINETUNE_GATEWAY_", absl::AsciiStrToUpper(flag.name)),
                     std::string(flag.fallback)}};
    const auto config = Read({});
    ASSERT_TRUE(config.ok()) << flag.name << config.status();
    EXPECT_THAT(config->warnings, IsEmpty());
    EXPECT_TRUE(absl::EndsWith(flag.help, ".")) << flag.name;
  }
}

TEST_F(ConfigTest, WarnsOfVariablesThatBelongToNoFlag) {
  environment_["FINETUNE_GATEWAY_LISTENN"] = "127.0.0.1:1";
  environment_["FINETUNE_GATEWAY_listen"] = "127.0.0.1:1";
  environment_["FINETUNE_GATEWAY_XYZZY_PLUGH"] = "1";
  const auto config = Read({});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->warnings,
              ElementsAre(HasSubstr("did you mean FINETUNE_GATEWAY_LISTEN?"),
                          AllOf(HasSubstr("FINETUNE_GATEWAY_XYZZY_PLUGH"), Not(HasSubstr("mean"))),
                          HasSubstr("did you mean FINETUNE_GATEWAY_LISTEN?")));
}

TEST_F(ConfigTest, DoesNotWarnOfWhatKubernetesSetsForAServiceOfThisName) {
  environment_["FINETUNE_GATEWAY_SERVICE_HOST"] = "10.0.0.1";
  environment_["FINETUNE_GATEWAY_SERVICE_PORT"] = "50051";
  environment_["FINETUNE_GATEWAY_SERVICE_PORT_GRPC"] = "50051";
  environment_["FINETUNE_GATEWAY_PORT"] = "tcp://10.0.0.1:50051";
  environment_["FINETUNE_GATEWAY_PORT_50051_TCP"] = "tcp://10.0.0.1:50051";
  environment_["FINETUNE_GATEWAY_PORT_50051_TCP_ADDR"] = "10.0.0.1";
  environment_["FINETUNE_GATEWAY_HEADLESS_PORT_50051_TCP_PROTO"] = "tcp";
  EXPECT_THAT(Read({})->warnings, IsEmpty());
}

TEST_F(ConfigTest, IsStoppedByNoVariableOfOpenTelemetry) {
  environment_["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4317";
  environment_["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc";
  const auto config = Read({});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->traces.enabled());
  EXPECT_THAT(config->warnings, ElementsAre(HasSubstr("OTEL_EXPORTER_OTLP_PROTOCOL")));
}

TEST_F(ConfigTest, ShowsNoUrlThatItRefuses) {
  for (const char* url : {"https://me:hush@x", "https://x?key=hush", "https://x#hush", "hush"})
    EXPECT_THAT(ErrorOf({absl::StrCat("--upstream_url=", url)}), Not(HasSubstr("hush")));
}

}  // namespace
}  // namespace finetune
