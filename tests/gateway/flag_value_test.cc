#include "server/flag_value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class FlagValueTest : public ::testing::Test {
 protected:
  absl::Status Set(const FlagValue& value, absl::string_view text,
                   const Environment& environment = {}) {
    return value.set(text, environment, config_);
  }
  Config config_;
};

TEST_F(FlagValueTest, AddressesAreAHostAndAPort) {
  const FlagValue value = HostAndPort(&Config::listen);
  for (const auto& [text, host, port] :
       std::vector<std::tuple<const char*, const char*, int>>{{"localhost:1", "localhost", 1},
                                                              {"0.0.0.0:0", "0.0.0.0", 0},
                                                              {"[::1]:65535", "[::1]", 65535}}) {
    ASSERT_TRUE(Set(value, text).ok()) << text;
    EXPECT_EQ(config_.listen.host, host);
    EXPECT_EQ(config_.listen.port, port);
  }
  for (const char* text : {"", ":1", "h", "h:", "h:x", "h:-1", "h:65536", "::1:80", "[::1]",
                           "[]:80", "[h]:80", "h:1:"})
    EXPECT_FALSE(Set(value, text).ok()) << text;
}

TEST_F(FlagValueTest, ApiUrlsLoseTheirLastSlashes) {
  const FlagValue value = ApiUrl(&Config::upstream_url);
  ASSERT_TRUE(Set(value, "https://api.segmind.com/v1//").ok());
  EXPECT_EQ(config_.upstream_url, "https://api.segmind.com/v1");
  ASSERT_TRUE(Set(value, "http://127.0.0.1:8080").ok());
}

TEST_F(FlagValueTest, ApiUrlsThatLeadNowhereAreRefusedUnseen) {
  const FlagValue value = ApiUrl(&Config::upstream_url);
  for (const char* text :
       {"", "api.segmind.com", "ftp://h", "https://", "https:///v1", "https://h?key=s3cret",
        "https://h#s3cret", "https://user:s3cret@h", "https://h/s3 cret", "https://h\n",
        "https://h\r", "https://h:99999", "https://:80", "https://h\\s3cret"}) {
    const absl::Status status = Set(value, text);
    EXPECT_FALSE(status.ok()) << text;
    EXPECT_THAT(status.ToString(), Not(HasSubstr("s3cret")));
  }
}

TEST_F(FlagValueTest, NumbersAndTimesHaveALeast) {
  EXPECT_TRUE(Set(Whole(&Config::settle_lists, 1), "1").ok());
  EXPECT_EQ(config_.settle_lists, 1);
  for (const char* text : {"0", "-1", "", "1.5", "1x", "99999999999"})
    EXPECT_FALSE(Set(Whole(&Config::settle_lists, 1), text).ok()) << text;
  const FlagValue time = Time(&Config::submit_timeout, absl::Seconds(1));
  EXPECT_TRUE(Set(time, "1m30s").ok());
  EXPECT_EQ(config_.submit_timeout, absl::Seconds(90));
  for (const char* text : {"", "15", "inf", "-inf", "-1s", "999ms", "1 fortnight"})
    EXPECT_FALSE(Set(time, text).ok()) << text;
}

TEST_F(FlagValueTest, SaysWhatIsWrongWithTheText) {
  EXPECT_EQ(Set(Whole(&Config::settle_lists, 3), "2").message(), "must be at least 3, not 2");
  EXPECT_EQ(Set(Whole(&Config::settle_lists, 3), "two").message(), "'two' is not a whole number");
  EXPECT_EQ(Set(Level(&Config::log_level), "loud").message(),
            "'loud' is not debug, info, warning or error");
}

TEST_F(FlagValueTest, SwitchesLevelsAndNamesAreRead) {
  EXPECT_TRUE(Switch(&Config::page).is_switch);
  EXPECT_TRUE(Set(Switch(&Config::page), "true").ok());
  EXPECT_TRUE(config_.page);
  EXPECT_TRUE(Set(Switch(&Config::page), "false").ok());
  EXPECT_FALSE(config_.page);
  EXPECT_FALSE(Set(Switch(&Config::page), "perhaps").ok());
  EXPECT_TRUE(Set(Level(&Config::log_level), "warning").ok());
  EXPECT_EQ(config_.log_level, LogLevel::kWarning);
  EXPECT_TRUE(Set(Names(&Config::page_hosts), "a,,b, ").ok());
  EXPECT_THAT(config_.page_hosts, ElementsAre("a", "b"));
  EXPECT_TRUE(Set(HostNames(&Config::page_hosts), "A.example, 10.0.0.1,x").ok());
  EXPECT_THAT(config_.page_hosts, ElementsAre("A.example", "10.0.0.1", "x"));
  for (const char* bad : {"http://x", "x:80", "x/", "*", "*.com", "a b", "x?", "u@x", "\xff", "."})
    EXPECT_FALSE(Set(HostNames(&Config::page_hosts), bad).ok()) << bad;
  EXPECT_TRUE(Set(Names(&Config::page_hosts), "").ok());
  EXPECT_THAT(config_.page_hosts, IsEmpty());
  EXPECT_TRUE(Set(TlsFile(&TlsFiles::cert), "/c.pem").ok());
  EXPECT_EQ(config_.tls.cert, "/c.pem");
}

TEST_F(FlagValueTest, AStoreIsAFileOrADatabaseAndTheLastOneCounts) {
  EXPECT_TRUE(Set(StorePlaceValue(), "sqlite:/var/x.db").ok());
  EXPECT_EQ(config_.sqlite_path, "/var/x.db");
  EXPECT_TRUE(Set(StorePlaceValue(), "postgres://u@h/d").ok());
  EXPECT_EQ(config_.postgres_url, "postgres://u@h/d");
  EXPECT_EQ(config_.sqlite_path, "");
  EXPECT_TRUE(Set(StorePlaceValue(), "sqlite::memory:").ok());
  EXPECT_EQ(config_.postgres_url, "");
  const absl::Status status = Set(StorePlaceValue(), "mysql://u:s3cret@h");
  EXPECT_THAT(status.ToString(), Not(HasSubstr("s3cret")));
  EXPECT_FALSE(status.ok());
}

TEST_F(FlagValueTest, AStoreWithoutAPathGoesWhereAUsersStateGoes) {
  EXPECT_TRUE(Set(StorePlaceValue(), "sqlite:", {{"XDG_STATE_HOME", "/s"}, {"HOME", "/h"}}).ok());
  EXPECT_EQ(config_.sqlite_path, "/s/finetune-gateway/store.db");
  // A path that is not absolute counts as none.
  EXPECT_TRUE(Set(StorePlaceValue(), "sqlite:", {{"XDG_STATE_HOME", "s"}, {"HOME", "/h"}}).ok());
  EXPECT_EQ(config_.sqlite_path, "/h/.local/state/finetune-gateway/store.db");
  EXPECT_FALSE(Set(StorePlaceValue(), "sqlite:", {{"HOME", ""}}).ok());
}

}  // namespace
}  // namespace finetune
