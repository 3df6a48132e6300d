#include "server/service/requests/freshness_gate.h"

#include <gtest/gtest.h>

#include <thread>

#include "server/base/error.h"
#include "tests/base/notification.h"
#include "tests/jobs/rig.h"
#include "tests/jobs/store_fixture.h"
#include "tests/service/calls/one_method.h"

namespace finetune {
namespace {

class FreshnessTest : public testing::Test, protected OneMethod {
 protected:
  FreshnessTest() {
    EXPECT_TRUE(process_.Load().ok());
    process_.recorder.AddListener(&job_waits_);
    EXPECT_EQ(Put("a"), 1u);
    Serve([this](auto, UnaryCall& call) {
      freshness_.Await(wanted_, "", call, [this, &call](absl::Status status) {
        ++ends_;
        if (status.ok()) return call.Reply(Named("fresh"));
        call.Fail(status);
      });
      awaiting_.Notify();
    });
  }
  ~FreshnessTest() override {
    if (client_.joinable()) client_.join();
    Shutdown();
    process_.Stop();
  }

  // The revision that it has then.
  uint64_t Put(const std::string& id) {
    Reply<absl::Status> done;
    process_.recorder.Record(
        [&](Draft& draft) {
          draft.Put(MakeJob(id));
          return absl::OkStatus();
        },
        done.Taker());
    EXPECT_TRUE(done.Wait().ok());
    return process_.catalog.view()->revision();
  }
  // Begins a call that asks for `wanted_`.
  void Ask() {
    client_ = std::thread([this] { status_ = Get(context_, "a").first; });
    awaiting_.WaitForNotification();
  }
  grpc::Status Answer() {
    client_.join();
    return status_;
  }

  FakeSegmind segmind_{clock_};
  Process process_{{}, OpenSqliteStore(":memory:").value(), segmind_.Connect(), clock_};
  JobWaits job_waits_{process_.catalog, clock_};
  FreshnessGate freshness_{process_.catalog, process_.tracker, job_waits_, clock_};
  pb::Freshness wanted_;
  Notification awaiting_;
  std::atomic<int> ends_ = 0;
  grpc::ClientContext context_;
  grpc::Status status_;
  std::thread client_;
};

TEST_F(FreshnessTest, AsksSegmindNothingWhereMemoryWillDo) {
  wanted_.set_min_revision(1);
  Ask();
  EXPECT_TRUE(Answer().ok());
  EXPECT_EQ(segmind_.lists(), 0);
}

TEST_F(FreshnessTest, RefusesAnAgeBelowZero) {
  wanted_.mutable_max_staleness()->set_seconds(-1);
  Ask();
  const grpc::Status status = Answer();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message().substr(0, 23), "freshness.max_staleness");
}

TEST_F(FreshnessTest, WaitsForARevision) {
  wanted_.set_min_revision(3);
  Ask();
  Put("b");
  EXPECT_EQ(ends_, 0);
  Put("c");
  EXPECT_TRUE(Answer().ok());
  EXPECT_EQ(ends_, 1);
}

TEST_F(FreshnessTest, NobodyWaitsForAClientThatIsGone) {
  wanted_.set_min_revision(100);
  Ask();
  context_.TryCancel();
  EXPECT_EQ(Answer().error_code(), grpc::StatusCode::CANCELLED);
  Shutdown();
  EXPECT_EQ(ends_, 1);
}

TEST_F(FreshnessTest, WaitsShutDownAreSentElsewhere) {
  wanted_.set_min_revision(100);
  Ask();
  job_waits_.Shutdown();
  EXPECT_EQ(Answer().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ends_, 1);
}

TEST_F(FreshnessTest, ReadsSegmindWhereMemoryIsTooOld) {
  process_.tracker.Start();
  Worker::AwaitIdleProcess();
  const int before = segmind_.lists();
  wanted_.mutable_max_staleness();
  Ask();
  while (ends_ == 0) {
    Worker::AwaitIdleProcess();
    clock_.Advance(absl::Milliseconds(20));
  }
  EXPECT_TRUE(Answer().ok());
  EXPECT_GT(segmind_.lists(), before);
  EXPECT_EQ(ends_, 1);
}

}  // namespace
}  // namespace finetune
