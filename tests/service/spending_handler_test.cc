// GetSpending: what is asked for, and what a caller may see.
#include "tests/service/service_world.h"

namespace finetune {
namespace {

class SpendingHandlerTest : public testing::Test {
 protected:
  // As if the caller had submitted it, at `time`.
  void Submitted(const std::string& id, const std::string& creator, const std::string& time) {
    absl::Time at;
    std::string error;
    ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, time, &at, &error)) << error;
    record::FineTuneRecord record;
    record.set_request_id("request-" + id);
    record.mutable_fine_tune()->set_name(NameOf(id));
    record.mutable_fine_tune()->set_creator(creator);
    record.mutable_fine_tune()->set_base_model("FLUX");
    record.mutable_fine_tune()->set_state(pb::FineTune::AVAILABLE);
    *record.mutable_charge()->mutable_time() = ToProto(at);
    record.mutable_charge()->set_unit("credits");
    record.mutable_charge()->set_micros(2'000'000);
    absl::Notification done;
    world_.recorder.Record(
        [&](Draft& draft) {
          draft.Put(record);
          return absl::OkStatus();
        },
        [&](const absl::Status& status) {
          EXPECT_TRUE(status.ok()) << status;
          done.Notify();
        });
    done.WaitForNotification();
  }
  pb::GetSpendingResponse Spending(const pb::GetSpendingRequest& request,
                                   const std::string& who = "") {
    pb::GetSpendingResponse response;
    const grpc::Status status = world_.stub->GetSpending(Context(who).get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  std::string Refused(const pb::GetSpendingRequest& request) {
    pb::GetSpendingResponse response;
    return ReasonIn(world_.stub->GetSpending(Context().get(), request, &response));
  }

  ServiceWorld world_;
};

pb::GetSpendingRequest Since2026() {
  pb::GetSpendingRequest request;
  request.mutable_start_time()->set_seconds(1'767'225'600);
  return request;
}

TEST_F(SpendingHandlerTest, ShowsACallerItsOwnAndAllToWhoSeesAll) {
  Submitted("a", "alice", "2026-10-31T23:30:00Z");
  Submitted("b", "bob", "2026-11-02T00:00:00Z");
  Submitted("c", "alice", "2026-11-02T00:20:00Z");
  const auto all = Spending(Since2026(), "viewer");
  ASSERT_EQ(all.rows_size(), 3);
  EXPECT_EQ(all.rows(0).period(), "2026-10");
  EXPECT_EQ(all.rows(1).group(), "alice");
  EXPECT_EQ(all.rows(1).costs(0).micros(), 2'000'000);
  const auto own = Spending(Since2026(), "bob");
  ASSERT_EQ(own.rows_size(), 1);
  EXPECT_EQ(own.rows(0).group(), "bob");
}

TEST_F(SpendingHandlerTest, GoesByTheTimesZoneAndStepThatAreAskedFor) {
  Submitted("a", "alice", "2026-10-31T23:30:00Z");
  auto request = Since2026();
  request.set_time_zone("Europe/Berlin");
  request.set_step(pb::GetSpendingRequest::DAY);
  EXPECT_EQ(Spending(request).rows(0).period(), "2026-11-01");
  request.mutable_end_time()->set_seconds(1'793'488'000);  // Some minutes before it.
  EXPECT_EQ(Spending(request).rows_size(), 0);
}

TEST_F(SpendingHandlerTest, RefusesWhatMakesNoSense) {
  auto request = Since2026();
  request.set_time_zone("Mars/Base");
  EXPECT_EQ(Refused(request), "INVALID_FIELD");
  request = Since2026();
  request.mutable_end_time()->set_seconds(1);
  EXPECT_EQ(Refused(request), "INVALID_FIELD");
  request = Since2026();
  request.set_group_by(pb::GetSpendingRequest::LABEL);
  EXPECT_EQ(Refused(request), "INVALID_FIELD");
  request = Since2026();
  request.set_label_key("a");
  EXPECT_EQ(Refused(request), "INVALID_FIELD");
  request = Since2026();
  request.set_step(static_cast<pb::GetSpendingRequest::Step>(77));
  EXPECT_EQ(Refused(request), "INVALID_FIELD");
}

// Whose budget is used and what it would cost: what a check and the status say.
TEST_F(SpendingHandlerTest, ACheckAndTheStatusSayWhatItCostsAndWhatIsLeft) {
  auto rules = std::make_shared<SpendingRules>();
  rules->unit = "credits";
  rules->prices = {{.base_micros = 3'000'000}};
  rules->budgets = {{.name = "mine",
                     .of = Budget::Of::kCaller,
                     .subject = "alice",
                     .period = PeriodKind::kMonth,
                     .zone = absl::UTCTimeZone(),
                     .money = true,
                     .limit = 4'000'000}};
  auto spender = std::make_shared<Spender>();
  spender->rules = rules;
  auto alice = std::make_shared<Caller>();
  alice->identity = "alice";
  alice->role = Role::kSubmitter;
  alice->spender = spender;
  world_.authenticator.Tell("alice", Admission{alice});
  pb::CreateFineTuneRequest request;
  request.set_validate_only(true);
  request.mutable_fine_tune()->set_display_name("x");
  request.mutable_fine_tune()->set_instance_prompt("a photo of TOK");
  request.mutable_fine_tune()->set_trigger_word("TOK");
  request.mutable_fine_tune()->set_base_model("FLUX");
  pb::FineTune job;
  ASSERT_TRUE(world_.stub->CreateFineTune(Context("alice").get(), request, &job).ok());
  EXPECT_EQ(job.estimated_cost().micros(), 3'000'000);
  Submitted("a", "alice", absl::FormatTime(absl::RFC3339_full, WallNow(), absl::UTCTimeZone()));
  EXPECT_EQ(ReasonIn(world_.stub->CreateFineTune(Context("alice").get(), request, &job)),
            "CLIENT_QUOTA_EXCEEDED");
  pb::GatewayStatus status;
  ASSERT_TRUE(world_.stub->GetGatewayStatus(Context("alice").get(), {}, &status).ok());
  ASSERT_EQ(status.quotas_size(), 1);
  EXPECT_EQ(status.quotas(0).metric(), "budget:mine");
  EXPECT_EQ(status.quotas(0).used(), 2'000'000);
  EXPECT_EQ(status.quotas(0).limit(), 4'000'000);
  EXPECT_EQ(status.quotas(0).unit(), "credits");
  EXPECT_GT(status.quotas(0).reset_time().seconds(), absl::ToUnixSeconds(WallNow()));
}

}  // namespace
}  // namespace finetune
