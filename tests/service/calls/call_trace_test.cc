#include "server/service/calls/call_trace.h"

#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/service/calls/call_gate.h"
#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"

namespace finetune {
namespace {

// The parts of a call's metadata are read where a call is: service/calls/unary_call_test.cc.
class CallTraceTest : public ::testing::Test {
 protected:
  // What the span of a call that ended so says.
  SpanRecord Described(const absl::Status& status, const std::string& peer = "ipv4:10.0.0.1:5") {
    {
      TraceContext parent;
      parent.trace_low = parent.span_id = 1;
      parent.sampled = true;
      parent.tracer = &tracer_;
      Span span = parent.StartSpan(SpanKind::kServer, "call");
      DescribeCall(call_, "GetFineTune", peer, status, span);
    }
    const auto spans = collector_.Named("call");
    EXPECT_FALSE(spans.empty());
    return spans.empty() ? SpanRecord() : spans.back();
  }

  ManualClock clock_;
  SpanCollector collector_;
  Tracer tracer_{{}, collector_, clock_};
  Call call_{};
};

TEST_F(CallTraceTest, SaysWhoCalledWhatAndHowItEnded) {
  Caller caller;
  caller.identity = "alice";
  call_.caller = std::make_shared<const Caller>(caller);
  call_.fine_tune = "fineTunes/a";
  const SpanRecord span = Described(absl::OkStatus());
  EXPECT_EQ(AttributeOf(span, "rpc.system"), "grpc");
  EXPECT_EQ(AttributeOf(span, "rpc.service"), "segmind.finetune.v1.FineTuneService");
  EXPECT_EQ(AttributeOf(span, "rpc.method"), "GetFineTune");
  EXPECT_EQ(AttributeOf(span, "rpc.grpc.status_code"), "0");
  EXPECT_EQ(AttributeOf(span, "network.peer.address"), "10.0.0.1");
  EXPECT_EQ(AttributeOf(span, "finetune.caller"), "alice");
  EXPECT_EQ(AttributeOf(span, "finetune.name"), "fineTunes/a");
  EXPECT_EQ(AttributeOf(span, "finetune.reason"), "-");
  EXPECT_FALSE(span.failed);
}

TEST_F(CallTraceTest, LeavesOutWhatIsNotKnown) {
  const SpanRecord span = Described(absl::UnauthenticatedError("who?"), "unix:");
  for (const char* key : {"network.peer.address", "finetune.caller", "finetune.name"})
    EXPECT_EQ(AttributeOf(span, key), "-") << key;
}

TEST_F(CallTraceTest, FailsOnlyWhereTheServerDid) {
  for (const auto code : {absl::StatusCode::kInvalidArgument, absl::StatusCode::kNotFound,
                          absl::StatusCode::kResourceExhausted, absl::StatusCode::kCancelled})
    EXPECT_FALSE(Described(absl::Status(code, "words")).failed) << static_cast<int>(code);
  for (const auto code : {absl::StatusCode::kUnavailable, absl::StatusCode::kInternal,
                          absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kDataLoss}) {
    const SpanRecord span = Described(absl::Status(code, "words"));
    EXPECT_TRUE(span.failed) << static_cast<int>(code);
    EXPECT_EQ(span.message, "words");
  }
}

TEST_F(CallTraceTest, NamesTheReasonOfATypedError) {
  const SpanRecord span = Described(
      Error(absl::StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND, "none such"));
  EXPECT_EQ(AttributeOf(span, "finetune.reason"), "FINE_TUNE_NOT_FOUND");
}

}  // namespace
}  // namespace finetune
