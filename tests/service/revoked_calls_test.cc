// Streams and waits whose callers may not make them any longer, through the whole service.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/service/service_world.h"

namespace finetune {
namespace {

Admission Known(const std::string& identity, Role role = Role::kSubmitter, bool sees_all = false,
                absl::Time good_until = absl::InfiniteFuture()) {
  return {std::make_shared<const Caller>(Caller{identity, role, sees_all, {}, {}}), good_until};
}

// Streams and waits of `alice`, who may be told to be somebody else.
class RevokedCalls : public ::testing::Test {
 protected:
  struct Watch {
    std::unique_ptr<grpc::ClientContext> context = Context("alice");
    std::unique_ptr<grpc::ClientReader<pb::WatchFineTunesResponse>> reader;

    // Reads to the end.
    grpc::Status End() {
      pb::WatchFineTunesResponse message;
      while (reader->Read(&message)) continue;
      return reader->Finish();
    }
  };

  // A watch that has begun.
  std::unique_ptr<Watch> StartWatch() {
    auto watch = std::make_unique<Watch>();
    watch->reader = world_.stub->WatchFineTunes(watch->context.get(), {});
    pb::WatchFineTunesResponse message;
    while (watch->reader->Read(&message) && !message.has_synced()) continue;
    EXPECT_TRUE(message.has_synced());
    return watch;
  }
  void Change(absl::StatusOr<Admission> alice) {
    world_.authenticator.Tell("alice", std::move(alice));
    world_.gate.JudgeLastingCalls();
  }
  std::string ReasonOfEnd(absl::StatusOr<Admission> alice) {
    const auto watch = StartWatch();
    Change(std::move(alice));
    const grpc::Status ended = watch->End();
    Change(Known("alice", Role::kSubmitter, true));
    return absl::StrCat(ended.error_code(), " ", ReasonIn(ended));
  }

  ServiceWorld world_;
};

TEST_F(RevokedCalls, EndAsTheirCallerWouldBeRefusedNow) {
  Change(Known("alice", Role::kSubmitter, true));
  EXPECT_EQ(ReasonOfEnd(Error(absl::StatusCode::kUnauthenticated,
                              pb::ErrorReason::CREDENTIALS_INVALID, "gone")),
            "16 CREDENTIALS_INVALID");
  EXPECT_EQ(ReasonOfEnd(Known("alice", Role::kSubmitter, false)), "14 ACCESS_CHANGED");
  EXPECT_EQ(ReasonOfEnd(Known("alicia", Role::kSubmitter, true)), "14 ACCESS_CHANGED");
}

TEST_F(RevokedCalls, GoOnWhileTheirCallerMayMakeThem) {
  const auto watch = StartWatch();
  Change(Known("alice", Role::kAdmin, true));
  Change(Known("alice"));
  Change(Error(absl::StatusCode::kUnavailable, pb::ErrorReason::ISSUER_KEYS_UNAVAILABLE, "soon"));
  Change(Known("alice", Role::kViewer));
  world_.Put("a", pb::FineTune::TRAINING, "alice");
  pb::WatchFineTunesResponse message;
  ASSERT_TRUE(watch->reader->Read(&message));
  EXPECT_EQ(message.change().fine_tune().name(), "fineTunes/a");
  watch->context->TryCancel();
  EXPECT_EQ(watch->End().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(RevokedCalls, EndWhenTheirTokenDoes) {
  world_.authenticator.Tell(
      "alice", Known("alice", Role::kSubmitter, false, absl::Now() + absl::Seconds(1)));
  const grpc::Status ended = StartWatch()->End();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(ended), "ACCESS_CHANGED");
}

TEST_F(RevokedCalls, WaitsEndToo) {
  world_.Put("a", pb::FineTune::TRAINING, "alice");
  const auto wait = [&] {
    return std::async(std::launch::async, [&] {
      pb::WaitFineTuneRequest request;
      request.set_name("fineTunes/a");
      pb::WaitFineTuneResponse response;
      return world_.stub->WaitFineTune(Context("alice").get(), request, &response);
    });
  };
  const int before = world_.authenticator.asked();
  auto waiting = wait();
  world_.authenticator.AwaitAsked(before);
  Change(Error(absl::StatusCode::kUnauthenticated, pb::ErrorReason::CREDENTIALS_INVALID, "gone"));
  EXPECT_EQ(ReasonIn(waiting.get()), "CREDENTIALS_INVALID");
  world_.authenticator.Tell("alice", Known("alice", Role::kSubmitter, false, world_.clock->Now()));
  EXPECT_EQ(ReasonIn(wait().get()), "ACCESS_CHANGED");
}

TEST_F(RevokedCalls, AChangeBetweenTheJudgementAndTheBeginningIsNotMissed) {
  LastingCalls calls(world_.authenticator, *world_.clock);
  grpc::CallbackServerContext context;  // Without `who`: everything is allowed.
  const uint64_t before = calls.judgements();
  calls.JudgeAll();
  const auto call =
      std::make_shared<LastingCall>("WatchFineTunes", Role::kViewer, context, "ipv4:192.0.2.1:1",
                                    Known("alice", Role::kAdmin, true).caller);
  calls.Add(call, absl::InfiniteFuture(), before);
  EXPECT_EQ(ReasonOf(call->revoked()), pb::ErrorReason::ACCESS_CHANGED) << "it is nobody's now";
  absl::Status told;
  call->OnRevokedDo([&](const absl::Status& why) { told = why; });
  EXPECT_EQ(told, call->revoked());
  calls.Remove(call);
}

}  // namespace
}  // namespace finetune
