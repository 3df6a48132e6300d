#include "server/http/call_span.h"

#include <gtest/gtest.h>

#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"

namespace finetune {
namespace {

class CallSpanTest : public ::testing::Test {
 protected:
  // Ends it, and returns what was recorded of it.
  SpanRecord Ended(Span span) {
    span.End();
    return spans_.records().back();
  }
  bool Shows(const SpanRecord& record, const std::string& text) {
    bool shows = record.name.find(text) != std::string::npos ||
                 record.message.find(text) != std::string::npos;
    for (const auto& attribute : record.attributes)
      shows = shows || AttributeOf(record, attribute.first).find(text) != std::string::npos;
    return shows;
  }

  ManualClock clock_;
  SpanCollector spans_;
  Tracer tracer_{{}, spans_, clock_};
  Span root_ = tracer_.Start(clock_.Now(), SpanKind::kServer, "root", {});
};

TEST_F(CallSpanTest, TellsOfACallWithoutWhatMayBeSecret) {
  HttpRequest request{.method = "POST",
                      .url = "https://api.example:8443/a/submit?token=hush#hush",
                      .headers = {{"x", "hush"}},
                      .secret_headers = {{"x-api-key", Secret("hush")}},
                      .body = "hush"};
  const SpanRecord record = Ended(StartCallSpan(request, root_.context(), clock_.Now(), 2));
  EXPECT_EQ(record.name, "POST /a/submit");
  EXPECT_EQ(record.kind, SpanKind::kClient);
  EXPECT_EQ(record.parent_id, root_.context().span_id);
  EXPECT_EQ(AttributeOf(record, "http.request.method"), "POST");
  EXPECT_EQ(AttributeOf(record, "url.full"), "https://api.example:8443/a/submit");
  EXPECT_EQ(AttributeOf(record, "server.address"), "api.example");
  EXPECT_EQ(AttributeOf(record, "server.port"), "8443");
  EXPECT_EQ(AttributeOf(record, "http.request.resend_count"), "2");
  EXPECT_FALSE(Shows(record, "hush"));
}

TEST_F(CallSpanTest, TellsHowACallEnded) {
  const auto ended = [&](HttpResult result) {
    Span span = StartCallSpan({.url = "http://x/"}, root_.context(), clock_.Now(), 0);
    EndCallSpan(span, result);
    return spans_.records().back();
  };
  const SpanRecord good = ended({.response = {.code = 204, .headers = {}, .body = {}}});
  EXPECT_EQ(AttributeOf(good, "http.response.status_code"), "204");
  EXPECT_FALSE(good.failed);
  const SpanRecord refused = ended({.response = {.code = 404, .headers = {}, .body = {}}});
  EXPECT_TRUE(refused.failed);
  EXPECT_EQ(AttributeOf(refused, "error.type"), "404");
  const SpanRecord lost = ended({.status = absl::UnavailableError("reset")});
  EXPECT_TRUE(lost.failed);
  EXPECT_EQ(AttributeOf(lost, "http.response.status_code"), "-");
  EXPECT_EQ(AttributeOf(lost, "error.type"), "UNAVAILABLE");
  EXPECT_EQ(lost.message, "reset");
}

TEST_F(CallSpanTest, TellsOfASignedUrlOnlyTheHost) {
  StreamRequest request{
      .method = "PUT",
      .url = Secret("https://bucket.s3.amazonaws.com/hush/a.zip?X-Amz-Signature=hush"),
      .trace = root_.context()};
  Span span = StartStreamSpan(request);
  EndStreamSpan(span, 403, absl::UnavailableError("reset"));
  const SpanRecord record = spans_.records().back();
  EXPECT_EQ(record.name, "PUT");
  EXPECT_EQ(AttributeOf(record, "server.address"), "bucket.s3.amazonaws.com");
  EXPECT_EQ(AttributeOf(record, "http.response.status_code"), "403");
  EXPECT_TRUE(record.failed);
  EXPECT_FALSE(Shows(record, "hush"));
}

}  // namespace
}  // namespace finetune
