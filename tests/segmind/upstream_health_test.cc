#include "server/segmind/upstream_health.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

using Answer = UpstreamHealth::Answer;
using Status = pb::GatewayStatus;
using U = UpstreamCall;

class Health : public ::testing::Test {
 protected:
  Status::UpstreamState After(U call, Answer answer) {
    now_ += absl::Seconds(1);
    health_.Note(call, answer, now_);
    return health_.state(now_);
  }

  absl::Time now_ = absl::FromUnixSeconds(1'735'689'600);
  UpstreamHealth health_;
};

TEST_F(Health, FollowsTheLatestAnswers) {
  EXPECT_EQ(health_.state(now_), Status::HEALTHY);
  EXPECT_EQ(After(U::kList, Answer::kFailed), Status::DEGRADED);
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::HEALTHY);
}

TEST_F(Health, WhatIsNotAskedAnyMoreSaysNothing) {
  EXPECT_EQ(After(U::kList, Answer::kKeyRefused), Status::CREDENTIAL_REJECTED);
  EXPECT_EQ(After(U::kSubmit, Answer::kFailed), Status::CREDENTIAL_REJECTED);
  health_.Forget(U::kList);
  EXPECT_EQ(health_.state(now_), Status::DEGRADED);
  EXPECT_EQ(After(U::kSubmit, Answer::kGood), Status::HEALTHY);
}

TEST_F(Health, DoesNotFlapWhileOneKindFails) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(After(U::kDetails, Answer::kFailed), Status::DEGRADED);
    EXPECT_EQ(After(U::kList, Answer::kGood), Status::DEGRADED);
  }
  EXPECT_EQ(After(U::kDetails, Answer::kGood), Status::HEALTHY);
}

TEST_F(Health, BlamesTheKeyOnlyWhereAllKindsDo) {
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::HEALTHY);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(After(U::kDetails, Answer::kKeyRefused), Status::DEGRADED);
    EXPECT_EQ(After(U::kSubmit, Answer::kKeyRefused), Status::DEGRADED);
    EXPECT_EQ(After(U::kList, Answer::kGood), Status::DEGRADED);
  }
  EXPECT_EQ(After(U::kList, Answer::kKeyRefused), Status::CREDENTIAL_REJECTED);
  // A failure of another kind clears nobody.
  EXPECT_EQ(After(U::kDetails, Answer::kFailed), Status::CREDENTIAL_REJECTED);
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::DEGRADED);
}

TEST_F(Health, NoticesARevokedKeyByTheListAlone) {
  After(U::kDetails, Answer::kGood);
  After(U::kSubmit, Answer::kGood);
  After(U::kList, Answer::kGood);
  EXPECT_EQ(After(U::kList, Answer::kKeyRefused), Status::CREDENTIAL_REJECTED);
  EXPECT_EQ(After(U::kSubmit, Answer::kKeyRefused), Status::CREDENTIAL_REJECTED);
  // There is another key: what was refused was refused to the one before.
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::HEALTHY);
}

TEST_F(Health, BlamesTheKeyWhereNothingHasGoneWell) {
  EXPECT_EQ(After(U::kSubmit, Answer::kKeyRefused), Status::CREDENTIAL_REJECTED);
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::DEGRADED);
}

TEST_F(Health, ForgetsAFailureThatIsNotTriedAgain) {
  EXPECT_EQ(After(U::kUploadUrl, Answer::kFailed), Status::DEGRADED);
  EXPECT_EQ(After(U::kAccessUpdate, Answer::kKeyRefused), Status::CREDENTIAL_REJECTED);
  now_ += absl::Minutes(11);
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::HEALTHY);
}

TEST_F(Health, TellsThatSegmindTakesNoJobs) {
  health_.NoteRetired(true);
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::RETIRED);
  EXPECT_EQ(After(U::kList, Answer::kFailed), Status::DEGRADED);
  health_.NoteRetired(false);
  EXPECT_EQ(After(U::kList, Answer::kGood), Status::HEALTHY);
}

}  // namespace
}  // namespace finetune
