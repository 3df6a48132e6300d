#include "server/service/connections/connection_guard.h"

#include <gmock/gmock.h>
#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr int64_t kKb = int64_t{1} << 10;
constexpr int64_t kMb = int64_t{1} << 20;
constexpr char kFlood[] = "ipv4:192.0.2.1:1";
constexpr char kHonest[] = "ipv4:192.0.2.2:2";

class ConnectionGuardTest : public ::testing::Test {
 protected:
  struct Connection {
    int64_t read_bytes = 0;
    StreamCounts streams;
    int64_t sent_bytes = 0;
    bool known = true;  // To gRPC.
    absl::Duration idle;
    Source source = {};
  };

  std::vector<TcpConnection> Connections() {
    ++looks_at_connections_;
    std::vector<TcpConnection> all;
    for (const auto& [peer, connection] : connections_)
      all.push_back({.inode = std::hash<std::string>()(peer),
                     .peer = peer,
                     .source = connection.source,
                     .read_bytes = connection.read_bytes,
                     .sent_bytes = connection.sent_bytes,
                     .idle = connection.idle});
    return all;
  }

  absl::Duration Look(absl::Duration after = absl::Milliseconds(50)) {
    clock_.Advance(after);
    return guard_.Look(clock_.Now());
  }

  // The process has grown so much that its connections are looked at.
  void BeginAlarm() {
    resident_ = 100 * kMb;
    Look();
    resident_ += 80 * kMb;
    Look();
  }

  std::shared_ptr<LastingCall> AdmitUpload(const std::string& peer) {
    const auto call = MakeCall(peer);
    call->CountUploaded(0);
    return Admit(call);
  }
  std::shared_ptr<LastingCall> AdmitWatch(const std::string& peer) { return Admit(MakeCall(peer)); }

  std::shared_ptr<LastingCall> MakeCall(const std::string& peer) {
    return std::make_shared<LastingCall>("a call", Role::kViewer, context_, peer,
                                         std::make_shared<const Caller>());
  }
  std::shared_ptr<LastingCall> Admit(const std::shared_ptr<LastingCall>& call) {
    lasting_.Add(call, absl::InfiniteFuture(), lasting_.judgements());
    admitted_.push_back(call);
    return call;
  }

  void TearDown() override {
    for (const auto& call : admitted_) lasting_.Remove(call);
  }

  ManualClock clock_;
  Metrics metrics_;
  std::unique_ptr<Authenticator> authenticator_ = MakeOpenAuthenticator();
  LastingCalls lasting_{*authenticator_, clock_};
  grpc::ServerContext context_;
  std::vector<std::shared_ptr<LastingCall>> admitted_;

  int64_t resident_ = 100 * kMb;
  int64_t open_files_ = 5;
  int looks_at_connections_ = 0;
  int trims_ = 0;
  std::map<std::string, Connection> connections_;
  std::vector<std::string> cut_;
  std::vector<Source> kept_out_;

  ConnectionGuard::Process ThisProcess() {
    return {.resident_bytes = [this] { return resident_; },
            .open_files = [this] { return open_files_; },
            .trim = [this] { ++trims_; },
            .connections = [this] { return Connections(); },
            .cut =
                [this](const TcpConnection& connection) {
                  cut_.push_back(connection.peer);
                  return true;
                },
            .streams = [this](const std::string& peer) -> std::optional<StreamCounts> {
              const Connection& connection = connections_.at(peer);
              if (!connection.known) return std::nullopt;
              return connection.streams;
            },
            .close_door = [this](const std::vector<Source>& sources) { kept_out_ = sources; },
            .refresh_streams = [] {},
            .most_files = 6};
  }

  ConnectionGuard guard_{ThisProcess(), lasting_, metrics_};
};

TEST_F(ConnectionGuardTest, LooksAtNoConnectionWhileTheProcessIsAsLargeAsItWas) {
  connections_[kFlood] = {.read_bytes = 1000 * kMb};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Look(), absl::Milliseconds(40));
  resident_ += 20 * kMb;
  Look();
  EXPECT_EQ(looks_at_connections_, 1) << "to know that it is there";
}

TEST_F(ConnectionGuardTest, CutsConnectionsWithoutACallWhenMostDescriptorsAreTaken) {
  connections_["watches"] = {.read_bytes = 100, .idle = absl::Hours(1)};
  AdmitWatch("watches");
  connections_["busy"] = {.streams = {.started = 1, .ended = 1}, .idle = absl::Seconds(1)};
  connections_["quiet"] = {.streams = {.started = 1, .ended = 1}, .idle = absl::Minutes(1)};
  // Shakes hands for ever.
  connections_["mute"] = {.read_bytes = 5000, .known = false, .idle = absl::Milliseconds(1)};
  connections_["deaf"] = {.idle = absl::Milliseconds(2)};
  guard_.CutIdle(clock_.Now());
  EXPECT_THAT(cut_, IsEmpty());
  open_files_ = 6;
  guard_.CutIdle(clock_.Now());
  EXPECT_THAT(cut_, ElementsAre("deaf", "mute", "quiet")) << "half of what may be open";
}

TEST_F(ConnectionGuardTest, CutsHalfOfThoseWithoutACallWhenTheyAreTooMany) {
  ConnectionGuard::Process process = ThisProcess();
  process.most_files = 100;
  process.most_idle = 4;
  ConnectionGuard guard(process, lasting_, metrics_);
  open_files_ = 5;
  connections_["watches"] = {.idle = absl::Hours(1)};
  AdmitWatch("watches");
  connections_["quiet"] = {.streams = {.started = 1, .ended = 1}, .idle = absl::Minutes(1)};
  for (const char* peer : {"a", "b"})
    connections_[peer] = {.read_bytes = 600, .known = false, .idle = absl::Seconds(1)};
  guard.CutIdle(clock_.Now());
  EXPECT_THAT(cut_, IsEmpty());
  // It is about to stand.
  connections_["new"] = {.read_bytes = 600, .known = false, .idle = absl::Milliseconds(1)};
  clock_.Advance(absl::Seconds(1));
  guard.CutIdle(clock_.Now());
  EXPECT_THAT(cut_, UnorderedElementsAre("a", "b"));
}

TEST_F(ConnectionGuardTest, LooksSeldomForConnectionsToCutWhileAllHaveCalls) {
  connections_["watches"] = {.read_bytes = 100, .idle = absl::Hours(1)};
  AdmitWatch("watches");
  open_files_ = 6;
  for (int i = 0; i < 25; ++i) {
    guard_.CutIdle(clock_.Now());
    clock_.Advance(absl::Milliseconds(40));
  }
  EXPECT_EQ(looks_at_connections_, 1);
  connections_["mute"] = {.read_bytes = 60, .sent_bytes = 80};
  guard_.CutIdle(clock_.Now());
  EXPECT_THAT(cut_, ElementsAre("mute"));
}

TEST_F(ConnectionGuardTest, CutsWhoSendsHeadersWithoutEnd) {
  connections_[kFlood] = {.streams = {.started = 1}};
  connections_[kHonest] = {.read_bytes = 500 * kMb, .streams = {.started = 9000, .ended = 8990}};
  BeginAlarm();
  for (int i = 0; i < 3 && cut_.empty(); ++i) {
    connections_[kFlood].read_bytes += 30 * kMb;
    connections_[kHonest].read_bytes += 2 * kMb;
    connections_[kHonest].streams.started += 2000;
    connections_[kHonest].streams.ended += 1990;
    resident_ += 30 * kMb;
    Look();
  }
  EXPECT_THAT(cut_, ElementsAre(kFlood));
  for (const auto& family : metrics_.registry()->Collect())
    EXPECT_EQ(family.metric[0].counter.value, 1);
  for (int i = 0; i < 10; ++i) Look();
  EXPECT_THAT(cut_, ElementsAre(kFlood)) << "only once";
  guard_.Stop();
  EXPECT_GE(trims_, 1);
}

TEST_F(ConnectionGuardTest, CutsWhoCameAfterItBeganToLook) {
  BeginAlarm();
  connections_[kFlood] = {.read_bytes = 3 * kMb, .streams = {.started = 1}};
  Look();
  EXPECT_THAT(cut_, ElementsAre(kFlood)) << "each byte may be 64 of memory";
}

TEST_F(ConnectionGuardTest, CutsWhoOpensStreamsAndLeavesThemOpen) {
  connections_[kFlood] = {.read_bytes = 5 * kMb, .streams = {.started = 60'000}};
  BeginAlarm();
  connections_[kFlood].read_bytes += kMb;
  Look();
  EXPECT_THAT(cut_, ElementsAre(kFlood));
}

TEST_F(ConnectionGuardTest, LeavesCallsAloneThatWaitForTheirTurn) {
  BeginAlarm();
  lasting_.NoteAdmitted(kHonest);
  connections_[kHonest] = {.read_bytes = 3 * kMb, .streams = {.started = 50'000}};
  Look();
  EXPECT_THAT(cut_, IsEmpty());
  // Not without end.
  connections_[kHonest] = {.read_bytes = 6 * kMb, .streams = {.started = 100'000}};
  Look();
  EXPECT_THAT(cut_, ElementsAre(kHonest));
}

TEST_F(ConnectionGuardTest, CutsAsManyAsItTakes) {
  BeginAlarm();
  const std::string second = "ipv4:192.0.2.1:2", third = "ipv4:192.0.2.1:3";
  for (const std::string& peer : {std::string(kFlood), second, third})
    connections_[peer] = {.read_bytes = 2 * kMb, .streams = {.started = 1}};
  connections_[kHonest] = {.read_bytes = 50 * kKb, .streams = {.started = 1}};
  Look();
  EXPECT_THAT(cut_, UnorderedElementsAre(kFlood, second, third));
}

TEST_F(ConnectionGuardTest, LeavesUploadsAloneThatAreRead) {
  const auto upload = AdmitUpload(kHonest);
  upload->CountUploaded(300 * kMb);
  // Others have ended.
  connections_[kHonest] = {.read_bytes = 900 * kMb,
                           .streams = {.started = 3, .ended = 2, .messages_received = 2000}};
  BeginAlarm();
  for (int i = 0; i < 20; ++i) {
    connections_[kHonest].read_bytes += 30 * kMb;
    upload->CountUploaded(30 * kMb);
    Look();
  }
  // It ends, and another one begins.
  lasting_.Remove(upload);
  admitted_.clear();
  ++connections_[kHonest].streams.ended;
  const auto next = AdmitUpload(kHonest);
  ++connections_[kHonest].streams.started;
  connections_[kHonest].read_bytes += 30 * kMb;
  next->CountUploaded(30 * kMb);
  Look();
  EXPECT_THAT(cut_, IsEmpty());
}

TEST_F(ConnectionGuardTest, AnUploadIsNoCoverForAFlood) {
  const auto upload = AdmitUpload(kFlood);
  upload->CountUploaded(kMb);
  connections_[kFlood] = {.read_bytes = kMb, .streams = {.started = 2, .messages_received = 1}};
  BeginAlarm();
  for (int i = 0; i < 3; ++i) {
    connections_[kFlood].read_bytes += 30 * kMb;
    upload->CountUploaded(20 * kMb);
    Look();
  }
  EXPECT_THAT(cut_, ElementsAre(kFlood));
}

TEST_F(ConnectionGuardTest, LeavesWatchesAloneThatWereAdmitted) {
  for (int i = 0; i < 10'000; ++i) AdmitWatch(kHonest);
  connections_[kHonest] = {.read_bytes = 3 * kMb, .streams = {.started = 10'000}};
  BeginAlarm();
  for (int i = 0; i < 10; ++i) {
    // Changes are sent, and windows opened.
    connections_[kHonest].streams.messages_sent += 10'000;
    connections_[kHonest].read_bytes += 500 * kKb;
    Look();
  }
  EXPECT_THAT(cut_, IsEmpty());
}

TEST_F(ConnectionGuardTest, CallsThatWentWellAreNoCoverForAFlood) {
  connections_[kFlood] = {.read_bytes = 10 * kMb, .streams = {.started = 50'001, .ended = 50'000}};
  BeginAlarm();
  Look();
  connections_[kFlood].read_bytes += kMb;
  Look();
  EXPECT_THAT(cut_, ElementsAre(kFlood));
}

TEST_F(ConnectionGuardTest, CutsWhoFillsItSlowly) {
  // Calls that went well come first.
  connections_[kFlood] = {.read_bytes = 10 * kMb, .streams = {.started = 50'001, .ended = 50'000}};
  Look();
  for (int i = 0; i < 3600 && cut_.empty(); ++i) {
    resident_ += kMb / 4;
    connections_[kFlood].read_bytes += 4 * kKb;
    Look(absl::Seconds(1));
  }
  EXPECT_THAT(cut_, ElementsAre(kFlood));
  EXPECT_LT(resident_, 200 * kMb);
}

TEST_F(ConnectionGuardTest, LeavesClientsAloneThatPingForDays) {
  for (int i = 0; i < 1000; ++i) connections_["ipv4:192.0.2.3:" + std::to_string(i)] = {};
  Look();
  for (auto& [peer, connection] : connections_) connection.read_bytes = 3 * 86'400 * 4;
  clock_.Advance(absl::Hours(72));
  BeginAlarm();
  for (int i = 0; i < 10; ++i) Look();
  EXPECT_THAT(cut_, IsEmpty());
}

TEST_F(ConnectionGuardTest, CutsWhoTakesCallsBack) {
  BeginAlarm();
  connections_[kFlood] = {.read_bytes = kMb,
                          .streams = {.started = 8000, .ended = 8000, .failed = 8000}};
  Look();
  EXPECT_THAT(cut_, ElementsAre(kFlood));
}

TEST_F(ConnectionGuardTest, KeepsOutForAWhileWhoIsCutWhileTheProcessIsLarge) {
  const Source source{.bits = 0xc0000201};
  BeginAlarm();
  connections_[kFlood] = {.streams = {.started = 60'000}, .source = source};
  connections_[kFlood].read_bytes = kMb;
  connections_[kHonest] = {.read_bytes = kKb, .source = {.bits = 0xc0000202}};
  Look();
  ASSERT_THAT(cut_, ElementsAre(kFlood));
  EXPECT_THAT(kept_out_, IsEmpty()) << "to cut it was enough";

  connections_.erase(kFlood);
  connections_["ipv4:192.0.2.1:2"] = {
      .read_bytes = kMb, .streams = {.started = 60'000}, .source = source};
  resident_ += 100 * kMb;
  Look();
  ASSERT_EQ(cut_.size(), 2);
  EXPECT_THAT(kept_out_, ElementsAre(source));
  EXPECT_TRUE(guard_.closes_door());

  resident_ = 120 * kMb;
  Look(absl::Milliseconds(100));
  EXPECT_THAT(kept_out_, ElementsAre(source));
  Look(absl::Milliseconds(150));
  EXPECT_THAT(kept_out_, IsEmpty());
  EXPECT_FALSE(guard_.closes_door());
}

TEST_F(ConnectionGuardTest, KeepsNobodyOutForLongHoweverLargeTheProcessStays) {
  connections_[kFlood] = {
      .read_bytes = kMb, .streams = {.started = 60'000}, .source = {.bits = 0xc0000201}};
  BeginAlarm();
  resident_ += 300 * kMb;
  for (int i = 0; i < 10 && cut_.empty(); ++i) Look();
  ASSERT_EQ(kept_out_.size(), 1);
  Look(absl::Seconds(2));
  EXPECT_EQ(kept_out_.size(), 1) << "it does not help to let more in";
  Look(absl::Seconds(4));
  EXPECT_THAT(kept_out_, IsEmpty());
}

TEST_F(ConnectionGuardTest, KeepsNobodyOutWhoMayCall) {
  BeginAlarm();
  lasting_.NoteAdmitted(kHonest);
  connections_[kHonest] = {
      .read_bytes = 6 * kMb, .streams = {.started = 100'000}, .source = {.bits = 0xc0000202}};
  resident_ += 600 * kMb;
  Look();
  EXPECT_THAT(cut_, ElementsAre(kHonest));
  EXPECT_THAT(kept_out_, IsEmpty());
}

TEST_F(ConnectionGuardTest, AcceptsGrowthThatNobodyIsToBlameFor) {
  BeginAlarm();
  const int before = looks_at_connections_;
  absl::Duration pause = absl::Milliseconds(10);
  for (int i = 0; i < 40; ++i) pause = Look(pause);
  EXPECT_LT(looks_at_connections_ - before, 40);
  EXPECT_EQ(pause, absl::Milliseconds(40)) << "as on an ordinary day";
  const int after = looks_at_connections_;
  Look();
  EXPECT_EQ(looks_at_connections_, after);
}

}  // namespace
}  // namespace finetune
