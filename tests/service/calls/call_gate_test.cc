#include "server/service/calls/call_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Whoever a test says.
class OneCaller : public Authenticator {
 public:
  absl::StatusOr<Admission> Authenticate(const grpc::ServerContextBase&, absl::Time) override {
    return is;
  }
  absl::StatusOr<Admission> is = absl::UnauthenticatedError("nobody yet");
};

class CallGateTest : public ::testing::Test {
 protected:
  // A call from its arrival on; ends with the test at the latest.
  struct Made {
    grpc::ServerContext context;
    Call call;
    absl::Status admitted;
  };

  void Is(const std::string& identity, Role role = Role::kAdmin, CallerLimits limits = {}) {
    auto& use = uses_[identity];
    if (use == nullptr) use = std::make_shared<CallerUse>(identity, identity);
    door_.is = Admission{std::make_shared<const Caller>(
        Caller{identity, role, /*sees_all=*/true, std::move(limits), use})};
  }
  std::unique_ptr<Made> Admit(Method method) {
    auto made = std::make_unique<Made>();
    made->admitted = gate_->Admit(method, &made->context, made->call);
    return made;
  }
  // How a call goes that ends at once.
  absl::Status Try(Method method) {
    const auto made = Admit(method);
    gate_->End(made->call, made->admitted, made->admitted.ok() ? 1 : 0);
    return made->admitted;
  }
  void Make(CallGate::Options options) {
    gate_ = std::make_unique<CallGate>(std::move(options), door_, clock_, metrics_, tracer_);
  }
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }

  OneCaller door_;
  ManualClock clock_;
  Metrics metrics_;
  SpanCollector spans_;
  Tracer tracer_{{}, spans_, clock_};
  std::map<std::string, std::shared_ptr<CallerUse>> uses_;
  std::unique_ptr<CallGate> gate_ =
      std::make_unique<CallGate>(CallGate::Options(), door_, clock_, metrics_, tracer_);
};

TEST_F(CallGateTest, LetsNobodyInWhomTheAuthenticatorDoesNotKnow) {
  for (int i = 0; i < kMethods; ++i)
    EXPECT_TRUE(absl::IsUnauthenticated(Try(static_cast<Method>(i)))) << i;
  EXPECT_EQ(gate_->unary_calls(), 0);
}

TEST_F(CallGateTest, HoldsACallerToItsRole) {
  Is("vera", Role::kViewer);
  for (const Method reads : {Method::kGetFineTune, Method::kListFineTunes, Method::kWatchFineTunes,
                             Method::kWaitFineTune, Method::kDownloadWeights,
                             Method::kGetGatewayStatus, Method::kGetSpending})
    EXPECT_TRUE(Try(reads).ok()) << static_cast<int>(reads);
  for (const Method writes : {Method::kCreateFineTune, Method::kUpdateFineTune,
                              Method::kCreateUploadUrl, Method::kUploadDataset}) {
    const absl::Status refused = Try(writes);
    EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
    EXPECT_EQ(ReasonOf(refused), pb::ErrorReason::ROLE_NOT_ALLOWED);
  }
  EXPECT_THAT(Scrape(),
              HasSubstr("finetune_gateway_refused_calls_total{reason=\"ROLE_NOT_ALLOWED\"} 4"));
}

TEST_F(CallGateTest, GivesShortCallsADeadlineAndThoseThatLastNone) {
  Is("alice");
  const auto create = Admit(Method::kCreateFineTune);
  EXPECT_EQ(create->call.deadline, clock_.Now() + absl::Seconds(30));
  // In time for the answer to arrive before it.
  EXPECT_LT(create->call.answer_by(), create->call.deadline);
  EXPECT_GE(create->call.answer_by(), create->call.deadline - absl::Milliseconds(500));
  const auto watch = Admit(Method::kWatchFineTunes);
  EXPECT_EQ(watch->call.deadline, absl::InfiniteFuture());
  for (const auto& made : {&create, &watch}) gate_->End((*made)->call, absl::OkStatus(), 0);
}

TEST_F(CallGateTest, CountsUnaryCallsAsLongAsTheyAreUnderWay) {
  Is("alice");
  const auto get = Admit(Method::kGetFineTune), wait = Admit(Method::kWaitFineTune),
             watch = Admit(Method::kWatchFineTunes);
  EXPECT_EQ(gate_->unary_calls(), 2) << "a watch is none";
  for (const auto& made : {&get, &wait, &watch}) gate_->End((*made)->call, absl::OkStatus(), 1);
  EXPECT_EQ(gate_->unary_calls(), 0);
}

TEST_F(CallGateTest, WaitsWatchesAndTransfersTakeNoShortCallsPlace) {
  Make({.calls = {.total = 2},
        .waits = {.total = 1},
        .watches = {.total = 1},
        .transfers = {.total = 1}});
  Is("alice");
  std::vector<std::unique_ptr<Made>> made;
  for (const Method lasting :
       {Method::kWaitFineTune, Method::kWatchFineTunes, Method::kDownloadWeights}) {
    made.push_back(Admit(lasting));
    EXPECT_TRUE(made.back()->admitted.ok());
    const absl::Status second = Try(lasting);
    EXPECT_TRUE(absl::IsResourceExhausted(second)) << second;
  }
  EXPECT_TRUE(Try(Method::kGetFineTune).ok());
  for (const auto& one : made) gate_->End(one->call, absl::OkStatus(), 0);
  EXPECT_TRUE(Try(Method::kWatchFineTunes).ok()) << "there is room again";
}

TEST_F(CallGateTest, HoldsACallerToItsOwnLimits) {
  Is("alice", Role::kAdmin, {.watchers = 1});
  const auto watch = Admit(Method::kWatchFineTunes);
  ASSERT_TRUE(watch->admitted.ok());
  const absl::Status second = Try(Method::kWatchFineTunes);
  EXPECT_EQ(ReasonOf(second), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  Is("bob");
  EXPECT_TRUE(Try(Method::kWatchFineTunes).ok());
  gate_->End(watch->call, absl::OkStatus(), 0);
}

TEST_F(CallGateTest, TakesCallsNoFasterThanTheirCallerMay) {
  Is("alice", Role::kAdmin, {.calls_per_second = 2});
  EXPECT_TRUE(Try(Method::kGetFineTune).ok());
  EXPECT_TRUE(Try(Method::kGetFineTune).ok());
  const absl::Status third = Try(Method::kGetFineTune);
  EXPECT_EQ(ReasonOf(third), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_EQ(RetryDelayOf(third), absl::Milliseconds(500));
  clock_.Advance(absl::Milliseconds(500));
  EXPECT_TRUE(Try(Method::kGetFineTune).ok());
}

TEST_F(CallGateTest, WhatACallTookOfWhatAllShareComesBackAtItsEnd) {
  Make({.answer_bytes = {.total = 1'000}, .checks = {.total = 1}});
  Is("alice");
  const auto first = Admit(Method::kGetFineTune), second = Admit(Method::kGetFineTune);
  EXPECT_TRUE(gate_->Take(first->call, Share::kChecks).ok());
  EXPECT_TRUE(gate_->TakeForAnswer(first->call, 1'000).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(gate_->Take(second->call, Share::kChecks)));
  EXPECT_TRUE(absl::IsResourceExhausted(gate_->TakeForAnswer(second->call, 1)));
  gate_->End(first->call, absl::OkStatus(), 1);
  EXPECT_TRUE(gate_->Take(second->call, Share::kChecks).ok());
  EXPECT_TRUE(gate_->TakeForAnswer(second->call, 1'000).ok());
  gate_->End(second->call, absl::OkStatus(), 1);
}

TEST_F(CallGateTest, EndsStreamsAndWaitsWhoseCallerMayNotMakeThemAnyMore) {
  Is("alice");
  const auto watch = Admit(Method::kWatchFineTunes), get = Admit(Method::kGetFineTune);
  ASSERT_NE(watch->call.lasting, nullptr);
  EXPECT_EQ(get->call.lasting, nullptr);
  absl::Status why;
  watch->call.lasting->OnRevokedDo([&](const absl::Status& status) { why = status; });
  gate_->JudgeLastingCalls();
  EXPECT_TRUE(why.ok());
  door_.is = absl::UnauthenticatedError("gone");
  gate_->JudgeLastingCalls();
  EXPECT_TRUE(absl::IsUnauthenticated(why));
  for (const auto& made : {&watch, &get}) gate_->End((*made)->call, why, 0);
}

TEST_F(CallGateTest, CountsEachCallUnderItsMethodAndCode) {
  Is("alice");
  for (int i = 0; i < 3; ++i) Try(Method::kGetFineTune);
  const auto failed = Admit(Method::kGetFineTune);
  gate_->End(failed->call, absl::NotFoundError("none"), 0);
  const auto value_of = [&](const std::string& name, const std::string& code) {
    for (const auto& family : metrics_.registry()->Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        std::map<std::string, std::string> labels;
        for (const auto& label : metric.label) labels[label.name] = label.value;
        if (labels["grpc_method"] == "GetFineTune" && labels["grpc_code"] == code)
          return metric.counter.value;
      }
    }
    return -1.0;
  };
  EXPECT_EQ(value_of("grpc_server_started_total", ""), 4);
  EXPECT_EQ(value_of("grpc_server_handled_total", "OK"), 3);
  EXPECT_EQ(value_of("grpc_server_handled_total", "NotFound"), 1);
}

TEST_F(CallGateTest, ACallIsASpanWithItsCallerAndItsEnd) {
  Is("alice");
  const auto made = Admit(Method::kGetSpending);
  clock_.Advance(absl::Seconds(2));
  gate_->End(made->call, absl::UnavailableError("later"), 0);
  const auto spans = spans_.Named("segmind.finetune.v1.FineTuneService/GetSpending");
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(AttributeOf(spans[0], "finetune.caller"), "alice");
  EXPECT_EQ(AttributeOf(spans[0], "rpc.grpc.status_code"), "14");
}

}  // namespace
}  // namespace finetune
