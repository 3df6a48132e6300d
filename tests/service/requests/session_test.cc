#include "server/service/requests/session.h"

#include <grpcpp/test/server_context_test_spouse.h>
#include <gtest/gtest.h>

#include "tests/jobs/store_fixture.h"
#include "tests/service/calls/one_method.h"

namespace finetune {
namespace {

class SessionTest : public testing::Test, protected OneMethod {
 protected:
  SessionTest() {
    EXPECT_TRUE(jobs_.Put(MakeJob("a")).ok());
    EXPECT_TRUE(jobs_.Put(MakeJob("b")).ok());
    Serve([this](auto request, UnaryCall& call) {
      sessions_.Enter(call, [this, &call, request] {
        if (meanwhile_) meanwhile_();
        call.Reply(Named(request.name()));
      });
    });
  }
  ~SessionTest() override { Shutdown(); }
  // What a client is told that sends this; nullopt: nothing.
  struct Told {
    grpc::Status status;
    std::optional<std::string> token;
    bool lost = false;
  };
  Told Ask(const std::optional<std::string>& token) {
    grpc::ClientContext context;
    if (token) context.AddMetadata(kSessionKey, *token);
    Told told{.status = Get(context, "a").first, .token = {}};
    const auto& metadata = context.GetServerInitialMetadata();
    if (const auto found = metadata.find(kSessionKey); found != metadata.end())
      told.token = std::string(found->second.data(), found->second.size());
    told.lost = metadata.contains(kSessionLostKey);
    return told;
  }
  bool MayBeAhead(const std::optional<std::string>& token) {
    grpc::ServerContext context;
    grpc::testing::ServerContextTestSpouse metadata(&context);
    if (token) metadata.AddClientMetadata(kSessionKey, *token);
    return sessions_.MayBeAhead(context);
  }
  static std::string TokenOf(const ResumePoint& point) {
    return absl::StrCat(point.revision, ".", EncodeResumeToken(point));
  }

  // All but the first change is gone from the view, as after a failover.
  void LoseAllButOne() {
    StoreState state = jobs_.store->Load().value();
    std::vector<Era> eras = state.lineage.eras();
    eras.push_back(
        {.id = eras.back().id + 1, .base_revision = 1, .base_seq = 1, .began = {}, .why = {}});
    state.lineage = Lineage(eras);
    state.point = {.era = eras.back().id, .seq = 1, .revision = 1};
    state.records.resize(1);
    state.changes.resize(1);
    ASSERT_TRUE(jobs_.catalog.Load(state).ok());
  }

  std::function<void()> meanwhile_;  // Runs while a call is answered.
  JobsFixture jobs_;
  Sessions sessions_{jobs_.catalog, *jobs_.recorder};
};

TEST_F(SessionTest, WhoSendsNothingIsToldNothing) {
  const Told told = Ask(std::nullopt);
  EXPECT_TRUE(told.status.ok());
  EXPECT_FALSE(told.token);
  EXPECT_FALSE(told.lost);
}

TEST_F(SessionTest, WhoHasNoTokenYetGetsOneThatCoversTheAnswer) {
  const Told told = Ask("");
  EXPECT_TRUE(told.status.ok());
  ASSERT_TRUE(told.token);
  EXPECT_EQ(*told.token, TokenOf(jobs_.catalog.point()));
  EXPECT_EQ(told.token->substr(0, 2), "2.");
}

TEST_F(SessionTest, ATokenOfThisHistoryIsAnsweredWithANewerOne) {
  const std::string first = *Ask("").token;
  ASSERT_TRUE(jobs_.Put(MakeJob("c")).ok());
  const Told told = Ask(first);
  EXPECT_TRUE(told.status.ok());
  EXPECT_FALSE(told.lost);
  ASSERT_TRUE(told.token);
  EXPECT_EQ(told.token->substr(0, 2), "3.");
}

TEST_F(SessionTest, WhatWasLostIsSaidAndAnsweredFromWhatIsThere) {
  ResumePoint other = jobs_.catalog.point();
  other.epoch = "another record 1";
  const Told told = Ask(TokenOf(other));
  EXPECT_TRUE(told.status.ok()) << told.status.error_message();
  EXPECT_TRUE(told.lost);
  EXPECT_EQ(told.token, TokenOf(jobs_.catalog.point()));
}

// Whether the answer rests on what was there before or after cannot be told: neither may pass for a
// record without a loss, in this answer or in the next one.
TEST_F(SessionTest, ALossWhileACallIsAnsweredIsSaidWithTheAnswerAndAfterIt) {
  const std::string first = *Ask("").token;
  meanwhile_ = [this] { LoseAllButOne(); };
  const Told told = Ask(first);
  EXPECT_TRUE(told.lost);
  EXPECT_EQ(told.token, first) << "what may have been answered is not in the record any more";
  meanwhile_ = nullptr;
  const Told next = Ask(told.token);
  EXPECT_TRUE(next.lost);
  EXPECT_EQ(next.token, TokenOf(jobs_.catalog.point()));
  EXPECT_FALSE(Ask(next.token).lost);
}

TEST_F(SessionTest, ALossWhileTheFirstCallIsAnsweredIsSaidAfterIt) {
  meanwhile_ = [this] { LoseAllButOne(); };
  const Told told = Ask("");
  EXPECT_FALSE(told.lost) << "the client had nothing";
  meanwhile_ = nullptr;
  EXPECT_TRUE(Ask(told.token).lost);
}

TEST_F(SessionTest, WhatIsNoTokenIsRefused) {
  const std::string good = *Ask("").token;
  for (const std::string& bad : {std::string("x"), std::string("2."), good + "x",
                                 good.substr(0, good.size() - 1), std::string("2.AAAA")}) {
    const Told told = Ask(bad);
    EXPECT_EQ(told.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << bad;
    EXPECT_FALSE(MayBeAhead(bad)) << bad;
  }
}

TEST_F(SessionTest, OnlyATokenOfWhatMayYetComeIsAhead) {
  EXPECT_FALSE(MayBeAhead(std::nullopt));
  EXPECT_FALSE(MayBeAhead(""));
  ResumePoint point = jobs_.catalog.point();
  EXPECT_FALSE(MayBeAhead(TokenOf(point)));
  point.revision += 5;
  EXPECT_TRUE(MayBeAhead(TokenOf(point)));
  point.epoch = "another record 1";
  EXPECT_FALSE(MayBeAhead(TokenOf(point)));
}

TEST(Metadata, IsFoundByItsKeyAlone) {
  grpc::ServerContext context;
  grpc::testing::ServerContextTestSpouse metadata(&context);
  metadata.AddClientMetadata("key", std::string("a\0b", 3));
  EXPECT_EQ(MetadataOf(context, "key"), std::string("a\0b", 3));
  EXPECT_EQ(MetadataOf(context, "other"), std::nullopt);
}

}  // namespace
}  // namespace finetune
