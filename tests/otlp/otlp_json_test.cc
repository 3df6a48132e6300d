#include "server/otlp/otlp_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/json/json.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

SpanRecord ASpan() {
  SpanRecord span;
  span.context = *ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  span.name = "a span";
  span.start = absl::FromUnixNanos(1'700'000'000'123'456'789);
  span.end = span.start + absl::Nanoseconds(211);
  return span;
}

// Written by hand from the specification's mapping of ExportTraceServiceRequest.
TEST(OtlpJson, IsWhatTheSpecificationSays) {
  SpanRecord span = ASpan();
  span.parent_id = 0x0123456789abcdef;
  span.kind = SpanKind::kServer;
  span.attributes = {
      {"rpc.method", "Get\"It"}, {"rpc.grpc.status_code", int64_t{14}}, {"finetune.cheap", true}};
  span.failed = true;
  span.message = "no luck";
  EXPECT_EQ(ExportRequestJson({{"service.name", "gateway"}, {"k", "v"}}, {span}),
            R"({"resourceSpans":[{"resource":{"attributes":[)"
            R"({"key":"service.name","value":{"stringValue":"gateway"}},)"
            R"({"key":"k","value":{"stringValue":"v"}}]},)"
            R"("scopeSpans":[{"scope":{"name":"finetune-gateway","version":")" FINETUNE_VERSION
            R"("},)"
            R"("spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",)"
            R"("parentSpanId":"0123456789abcdef","flags":1,"name":"a span","kind":2,)"
            R"("startTimeUnixNano":"1700000000123456789","endTimeUnixNano":"1700000000123457000",)"
            R"("attributes":[{"key":"rpc.method","value":{"stringValue":"Get\"It"}},)"
            R"({"key":"rpc.grpc.status_code","value":{"intValue":"14"}},)"
            R"({"key":"finetune.cheap","value":{"boolValue":true}}],)"
            R"("status":{"code":2,"message":"no luck"}}]}]}]})");
}

TEST(OtlpJson, GivesARootNoParentAndAGoodSpanNoStatus) {
  const std::string json = ExportRequestJson({}, {ASpan()});
  EXPECT_THAT(json, Not(HasSubstr("parentSpanId")));
  EXPECT_THAT(json, HasSubstr(R"("kind":1)"));
  EXPECT_THAT(json, HasSubstr(R"("status":{})"));
}

TEST(OtlpJson, HasTheStateThatOthersGaveTheTrace) {
  SpanRecord span = ASpan();
  EXPECT_THAT(ExportRequestJson({}, {span}), Not(HasSubstr("traceState")));
  span.context.state = ParseTracestate("congo=\"1\"");
  EXPECT_THAT(ExportRequestJson({}, {span}), HasSubstr(R"("traceState":"congo=\"1\"")"));
}

TEST(OtlpJson, IsJsonWhateverTextsHold) {
  SpanRecord span = ASpan();
  span.name = std::string("\xff\0\"\\\n", 5);
  span.attributes = {{"long", std::string(100'000, 'x')}};
  SpanRecord other = ASpan();
  const std::string json = ExportRequestJson({{"k", "\x80"}}, {span, other});
  EXPECT_LT(json.size(), 4000u);
  JsonParser parser;
  const JsonValue* parsed = parser.Parse(json);
  ASSERT_NE(parsed, nullptr);
  EXPECT_EQ((*parsed)["resourceSpans"][0]["scopeSpans"][0]["spans"].Size(), 2u);
}

TEST(OtlpJson, ReadsHowManySpansWereRejected) {
  EXPECT_EQ(RejectedSpans(R"({"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}})"), 3);
  EXPECT_EQ(RejectedSpans(R"({"partialSuccess":{"rejectedSpans":3}})"), 3);
  for (const char* none : {"{}", "", "<html>", R"({"partialSuccess":{}})", "[1]",
                           R"({"partialSuccess":{"rejectedSpans":"many"}})"})
    EXPECT_EQ(RejectedSpans(none), 0) << none;
}

}  // namespace
}  // namespace finetune
