#include "server/service/calls/lasting_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "server/base/error.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

Admission Known(const std::string& identity, Role role = Role::kSubmitter, bool sees_all = true) {
  return {std::make_shared<const Caller>(Caller{identity, role, sees_all, {}, {}}),
          absl::InfiniteFuture()};
}

// Whoever a test says, and how often that was asked.
class NamedCaller : public Authenticator {
 public:
  absl::StatusOr<Admission> Authenticate(const grpc::ServerContextBase&, absl::Time) override {
    ++asked;
    return is;
  }
  absl::StatusOr<Admission> is = Known("alice");
  int asked = 0;
};

// One call of alice's, who may submit, and what it hears.
class LastingCallsTest : public ::testing::Test {
 protected:
  void Begin(absl::Time good_until = absl::InfiniteFuture()) {
    call_->OnRevokedDo([this](const absl::Status& why) {
      ++ends_;
      why_ = why;
    });
    calls_.Add(call_, good_until, calls_.judgements());
  }
  pb::ErrorReason::Reason ReasonAfter(absl::StatusOr<Admission> is) {
    door_.is = std::move(is);
    calls_.JudgeAll();
    return why_ ? ReasonOf(*why_) : pb::ErrorReason::REASON_UNSPECIFIED;
  }

  NamedCaller door_;
  ManualClock clock_;
  LastingCalls calls_{door_, clock_};
  grpc::ServerContext context_;
  std::shared_ptr<LastingCall> call_ = std::make_shared<LastingCall>(
      "WatchFineTunes", Role::kSubmitter, context_, "peer-1", Known("alice").caller);
  std::optional<absl::Status> why_;
  int ends_ = 0;
};

TEST_F(LastingCallsTest, ACallGoesOnWhileItsCallerMayMakeIt) {
  Begin();
  EXPECT_EQ(ReasonAfter(Known("alice", Role::kAdmin)), pb::ErrorReason::REASON_UNSPECIFIED);
  EXPECT_EQ(ends_, 0);
  EXPECT_TRUE(call_->revoked().ok());
}

TEST_F(LastingCallsTest, ACallOfAnOtherNameOrOfALesserViewIsToComeAgain) {
  for (const Admission& is : {Known("bob"), Known("alice", Role::kSubmitter, false)}) {
    call_ = std::make_shared<LastingCall>("WatchFineTunes", Role::kViewer, context_, "peer-1",
                                          Known("alice").caller);
    Begin();
    EXPECT_EQ(ReasonAfter(is), pb::ErrorReason::ACCESS_CHANGED);
    EXPECT_TRUE(RetryDelayOf(*why_));
    calls_.Remove(call_);
  }
}

TEST_F(LastingCallsTest, ACallIsRefusedAsItWouldBeNow) {
  Begin();
  EXPECT_EQ(ReasonAfter(Known("alice", Role::kViewer)), pb::ErrorReason::ROLE_NOT_ALLOWED);
  EXPECT_EQ(call_->revoked(), *why_);
  // It ends once, whatever comes after.
  ReasonAfter(absl::UnauthenticatedError("gone"));
  EXPECT_EQ(ends_, 1);
}

TEST_F(LastingCallsTest, WhatCannotBeToldNowEndsNothing) {
  Begin();
  ReasonAfter(absl::UnavailableError("the issuer's keys are not there"));
  EXPECT_EQ(ends_, 0);
}

TEST_F(LastingCallsTest, ACallEndsWithItsToken) {
  Begin(clock_.WallNow() + absl::Minutes(5));
  clock_.Advance(absl::Minutes(4));
  EXPECT_EQ(ends_, 0);
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(why_);
  EXPECT_EQ(ReasonOf(*why_), pb::ErrorReason::ACCESS_CHANGED);
}

TEST_F(LastingCallsTest, WhoIsToldLateIsToldAtOnce) {
  calls_.Add(call_, absl::InfiniteFuture(), calls_.judgements());
  door_.is = absl::UnauthenticatedError("gone");
  calls_.JudgeAll();
  bool told = false;
  call_->OnRevokedDo([&](const absl::Status&) { told = true; });
  EXPECT_TRUE(told);
}

TEST_F(LastingCallsTest, AChangeBetweenAuthenticationAndBeginningIsNotMissed) {
  const uint64_t before = calls_.judgements();
  door_.is = absl::UnauthenticatedError("gone");
  calls_.JudgeAll();
  calls_.Add(call_, absl::InfiniteFuture(), before);
  EXPECT_TRUE(absl::IsUnauthenticated(call_->revoked()));
}

TEST_F(LastingCallsTest, OneThatHasEndedHearsNothingMore) {
  Begin(clock_.WallNow() + absl::Minutes(5));
  calls_.Remove(call_);
  door_.is = absl::UnauthenticatedError("gone");
  calls_.JudgeAll();
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(ends_, 0);
  EXPECT_EQ(clock_.timers(), 0u);
  bool told = false;
  call_->OnRevokedDo([&](const absl::Status&) { told = true; });
  EXPECT_FALSE(told);
}

TEST_F(LastingCallsTest, TellsWhatEachConnectionHasUnderWay) {
  const auto upload = std::make_shared<LastingCall>("UploadDataset", Role::kSubmitter, context_,
                                                    "peer-1", Known("alice").caller);
  upload->CountUploaded(0);
  upload->CountUploaded(700);
  Begin();
  calls_.Add(upload, absl::InfiniteFuture(), calls_.judgements());
  const CallsOfPeers peers = calls_.ByPeer();
  ASSERT_EQ(peers.size(), 1u);
  EXPECT_EQ(peers.at("peer-1").calls, 2);
  EXPECT_EQ(peers.at("peer-1").uploads, 1);
  EXPECT_EQ(peers.at("peer-1").upload_bytes, 700);
  calls_.Remove(upload);
  EXPECT_EQ(calls_.ByPeer().at("peer-1").upload_bytes, 0) << "nobody keeps accounts";
}

TEST_F(LastingCallsTest, KeepsAccountsOfWhatHasEndedOnlyWhileItIsTold) {
  const auto upload = std::make_shared<LastingCall>("UploadDataset", Role::kSubmitter, context_,
                                                    "peer-2", Known("alice").caller);
  upload->CountUploaded(700);
  calls_.NoteAdmitted("peer-3");
  EXPECT_TRUE(calls_.ByPeer().empty());
  calls_.KeepAccounts(true);
  EXPECT_TRUE(calls_.keeps_accounts());
  calls_.Add(upload, absl::InfiniteFuture(), calls_.judgements());
  calls_.Remove(upload);
  calls_.NoteAdmitted("peer-3");
  EXPECT_EQ(calls_.ByPeer().at("peer-2").upload_bytes, 700);
  EXPECT_EQ(calls_.ByPeer().at("peer-2").calls, 0);
  EXPECT_TRUE(calls_.ByPeer().at("peer-3").admitted);
  EXPECT_FALSE(calls_.ByPeer().at("peer-2").admitted);
  calls_.KeepAccounts(false);
  EXPECT_TRUE(calls_.ByPeer().empty());
}

}  // namespace
}  // namespace finetune
