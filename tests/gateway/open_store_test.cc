#include "server/open_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

class OpenStoreTest : public ::testing::Test {
 protected:
  OpenStoreTest() {
    std::string name = testing::TempDir() + "/open-store-XXXXXX";
    folder_ = mkdtemp(name.data());
    config_.sqlite_path = folder_ / "store.db";
  }
  ~OpenStoreTest() override { std::filesystem::remove_all(folder_); }

  static bool Never() { return false; }

  std::filesystem::path folder_;
  Config config_;
};

TEST_F(OpenStoreTest, OpensTheFileThatTheConfigurationNames) {
  const auto store = OpenStore(config_, Never);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_FALSE((*store)->is_shared());
  EXPECT_TRUE(std::filesystem::exists(config_.sqlite_path));
}

TEST_F(OpenStoreTest, SaysWhatIsWrongWithAFileThatIsNoRecord) {
  std::ofstream(config_.sqlite_path) << "this is none";
  const auto store = OpenStore(config_, Never);
  ASSERT_FALSE(store.ok());
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("store.db"));
}

// Nobody listens there; whoever ends the process meanwhile need not wait for it.
TEST_F(OpenStoreTest, WaitsForADatabaseOnlyUntilItIsToldToStop) {
  config_.postgres_url = "postgresql://nobody@127.0.0.1:1/none";
  int asked = 0;
  const auto store = OpenStore(config_, [&] { return ++asked >= 3; });
  EXPECT_TRUE(absl::IsUnavailable(store.status())) << store.status();
  EXPECT_GE(asked, 3);
}

TEST_F(OpenStoreTest, AFileIsOneGatewaysAlone) {
  config_.replica_name = "pod-1";
  const auto store = OpenStore(config_, Never);
  ASSERT_TRUE(store.ok());
  const absl::Time started = absl::FromUnixSeconds(1'700'000'000);
  const auto fleet = MakeFleet(config_, **store, started);
  EXPECT_FALSE(fleet->is_shared());
  const FleetStatus status = fleet->status();
  EXPECT_TRUE(status.leads);
  ASSERT_EQ(status.members.size(), 1u);
  EXPECT_EQ(status.members[0].name, "pod-1");
  EXPECT_EQ(status.members[0].version, FINETUNE_VERSION);
  EXPECT_EQ(status.members[0].started, started);
  EXPECT_NE(status.members[0].id, "");
}

TEST_F(OpenStoreTest, AReplicaIsCalledByItsFlagItsEnvironmentOrItsMachine) {
  const char* const before = std::getenv("HOSTNAME");
  const std::string kept = before == nullptr ? "" : before;
  setenv("HOSTNAME", "pod-2", 1);
  EXPECT_EQ(ReplicaName(config_), "pod-2");
  config_.replica_name = "pod-1";
  EXPECT_EQ(ReplicaName(config_), "pod-1");
  config_.replica_name = "pod-\xff";
  EXPECT_EQ(ReplicaName(config_).find('\xff'), std::string::npos);
  config_.replica_name.clear();
  unsetenv("HOSTNAME");
  EXPECT_NE(ReplicaName(config_), "");
  if (before != nullptr) setenv("HOSTNAME", kept.c_str(), 1);
}

}  // namespace
}  // namespace finetune
