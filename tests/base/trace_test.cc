#include "server/base/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"

namespace finetune {
namespace {

using ::testing::MatchesRegex;

constexpr char kHeader[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class TraceTest : public ::testing::Test {
 protected:
  Span StartRoot(const TraceContext& parent = {}) {
    return tracer_.Start(clock_.Now(), SpanKind::kServer, "root", parent);
  }

  ManualClock clock_;
  SpanCollector spans_;
  Tracer tracer_{{}, spans_, clock_};
};

TEST_F(TraceTest, ReadsAndWritesTheHeader) {
  const auto context = ParseTraceparent(kHeader);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->TraceId(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(context->SpanId(), "00f067aa0ba902b7");
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(context->Traceparent(), kHeader);
}

TEST_F(TraceTest, RefusesHeadersThatTheStandardCallsInvalid) {
  for (const char* header : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                             "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                             "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                             "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                             "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                             "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
                             "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
                             "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
                             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                             "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more"})
    EXPECT_FALSE(ParseTraceparent(header).has_value()) << header;
}

TEST_F(TraceTest, PassesOnAStateThatIsPrintableAndNotTooLong) {
  const std::string longest(512, 'a');
  for (const std::string& state :
       {std::string("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"), longest}) {
    ASSERT_NE(ParseTracestate(state), nullptr) << state;
    EXPECT_EQ(*ParseTracestate(state), state);
  }
  for (const std::string& state : {std::string(), longest + "a", std::string("a=1\r\nx: y"),
                                   std::string("a=\x7f"), std::string("a=\xc3\xa9")})
    EXPECT_EQ(ParseTracestate(state), nullptr) << state;
  TraceContext parent = *ParseTraceparent(kHeader);
  parent.state = ParseTracestate("congo=t61rcWkgMzE");
  Span root = StartRoot(parent);
  EXPECT_EQ(root.context().state, parent.state);
  EXPECT_EQ(root.context().StartSpan(SpanKind::kClient, "x").context().state, parent.state);
}

TEST_F(TraceTest, ReadsTheHeaderOfALaterVersion) {
  const auto context =
      ParseTraceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-what-comes");
  ASSERT_TRUE(context.has_value());
  EXPECT_FALSE(context->sampled);
  EXPECT_EQ(context->Traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
}

TEST_F(TraceTest, MakesATreeOfSpans) {
  Span root = StartRoot(*ParseTraceparent(kHeader));
  clock_.Advance(absl::Seconds(1));
  Span child = root.context().StartSpan(SpanKind::kClient, "child");
  child.Set("count", 3);
  child.Set("text", "three");
  child.Set("good", true);
  clock_.Advance(absl::Seconds(2));
  child.End();
  child.End();
  clock_.Advance(absl::Seconds(4));
  { const Span ended = std::move(root); }

  const auto records = spans_.records();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].name, "child");
  EXPECT_EQ(records[0].end - records[0].start, absl::Seconds(2));
  EXPECT_EQ(records[0].parent_id, records[1].context.span_id);
  EXPECT_EQ(AttributeOf(records[0], "count"), "3");
  EXPECT_EQ(AttributeOf(records[0], "text"), "three");
  EXPECT_EQ(AttributeOf(records[0], "good"), "true");
  EXPECT_FALSE(records[0].failed);
  EXPECT_EQ(records[1].end - records[1].start, absl::Seconds(7));
  EXPECT_EQ(records[1].parent_id, 0x00f067aa0ba902b7u);
  for (const SpanRecord& record : records)
    EXPECT_EQ(record.context.TraceId(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST_F(TraceTest, BeginsATraceWhereNoneCame) {
  StartRoot().End();
  StartRoot().End();
  const auto records = spans_.records();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].parent_id, 0u);
  EXPECT_THAT(records[0].context.Traceparent(), MatchesRegex("00-[0-9a-f]{32}-[0-9a-f]{16}-01"));
  EXPECT_NE(records[0].context.TraceId(), records[1].context.TraceId());
}

TEST_F(TraceTest, SaysHowASpanFailed) {
  Span span = StartRoot();
  span.Fail("503", "no luck");
  span.End();
  ASSERT_EQ(spans_.records().size(), 1u);
  EXPECT_TRUE(spans_.records()[0].failed);
  EXPECT_EQ(spans_.records()[0].message, "no luck");
  EXPECT_EQ(AttributeOf(spans_.records()[0], "error.type"), "503");
}

TEST_F(TraceTest, FollowsTheCallersDecision) {
  TraceContext parent = *ParseTraceparent(kHeader);
  parent.sampled = false;
  const Span span = StartRoot(parent);
  EXPECT_FALSE(span.recording());
  EXPECT_FALSE(span.context().StartSpan(SpanKind::kClient, "child").recording());
  EXPECT_EQ(span.context().Traceparent(), parent.Traceparent());

  Tracer never({.ratio = 0}, spans_, clock_);
  EXPECT_TRUE(
      never.Start(clock_.Now(), SpanKind::kServer, "x", *ParseTraceparent(kHeader)).recording());
}

TEST_F(TraceTest, CanDecideWithoutTheCaller) {
  Tracer never({.follow_parent = false, .ratio = 0}, spans_, clock_);
  EXPECT_FALSE(
      never.Start(clock_.Now(), SpanKind::kServer, "x", *ParseTraceparent(kHeader)).recording());
  TraceContext parent = *ParseTraceparent(kHeader);
  parent.sampled = false;
  Tracer always({.follow_parent = false}, spans_, clock_);
  EXPECT_TRUE(always.Start(clock_.Now(), SpanKind::kServer, "x", parent).recording());
}

TEST_F(TraceTest, RecordsAboutTheShareThatItShould) {
  Tracer some({.ratio = 0.25}, spans_, clock_);
  int sampled = 0;
  for (int i = 0; i < 4000; ++i) {
    const Span span = some.Start(clock_.Now(), SpanKind::kServer, "x", {});
    if (span.recording()) ++sampled;
    // Named all the same, for the log.
    EXPECT_TRUE(span.context().valid());
  }
  EXPECT_NEAR(sampled, 1000, 200);
}

TEST_F(TraceTest, SwitchedOffPassesOnWhatCame) {
  Tracer off;
  EXPECT_FALSE(off.enabled());
  const Span span = off.Start(clock_.Now(), SpanKind::kServer, "x", *ParseTraceparent(kHeader));
  EXPECT_FALSE(span.recording());
  Span child = span.context().StartSpan(SpanKind::kClient, "child");
  child.Set("key", "value");
  child.Fail("x", "y");
  child.End();
  EXPECT_EQ(child.context().Traceparent(), kHeader);
  EXPECT_FALSE(off.Start(clock_.Now(), SpanKind::kServer, "x", {}).context().valid());
}

TEST_F(TraceTest, ASpanThatIsReplacedHasEnded) {
  Span span = StartRoot();
  span = span.context().StartSpan(SpanKind::kInternal, "next");
  EXPECT_EQ(spans_.Named("root").size(), 1u);
  span.End();
  EXPECT_EQ(spans_.Named("next").size(), 1u);
}

}  // namespace
}  // namespace finetune
