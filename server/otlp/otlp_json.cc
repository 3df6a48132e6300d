#include "server/otlp/otlp_json.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/json/json.h"

namespace finetune {
namespace {

constexpr size_t kMaxText = 1024;
constexpr int kStatusError = 2;  // opentelemetry.proto.trace.v1.Status.StatusCode

// As in opentelemetry.proto.trace.v1.Span.SpanKind.
int NumberOf(SpanKind kind) {
  switch (kind) {
    case SpanKind::kInternal:
      return 1;
    case SpanKind::kServer:
      return 2;
    case SpanKind::kClient:
      return 3;
  }
  return 0;
}

std::string Text(std::string_view text) { return JsonString(ValidUtf8(text, kMaxText)); }

void AppendTextAttribute(std::string& json, std::string_view key, std::string_view value) {
  absl::StrAppend(&json, "{\"key\":", JsonString(key), ",\"value\":{\"stringValue\":", Text(value),
                  "}}");
}

void AppendAttribute(std::string& json, std::string_view key, const SpanRecord::Value& value) {
  if (auto* text = std::get_if<std::string>(&value)) return AppendTextAttribute(json, key, *text);
  absl::StrAppend(&json, "{\"key\":", JsonString(key), ",\"value\":{");
  if (auto* number = std::get_if<int64_t>(&value))
    absl::StrAppend(&json, "\"intValue\":\"", *number, "\"}}");
  else
    absl::StrAppend(&json, "\"boolValue\":", std::get<bool>(value) ? "true" : "false", "}}");
}

void AppendSpan(std::string& json, const SpanRecord& span) {
  absl::StrAppend(&json, "{\"traceId\":\"", span.context.TraceId(), "\",\"spanId\":\"",
                  span.context.SpanId(), "\"");
  if (span.parent_id != 0)
    absl::StrAppend(&json, ",\"parentSpanId\":\"", absl::Hex(span.parent_id, absl::kZeroPad16),
                    "\"");
  if (span.context.state != nullptr)
    absl::StrAppend(&json, ",\"traceState\":", Text(*span.context.state));
  absl::StrAppend(&json, ",\"flags\":1,\"name\":", Text(span.name),
                  ",\"kind\":", NumberOf(span.kind), ",\"startTimeUnixNano\":\"",
                  absl::ToUnixNanos(span.start), "\",\"endTimeUnixNano\":\"",
                  absl::ToUnixNanos(span.end), "\",\"attributes\":[");
  const char* comma = "";
  for (const auto& [key, value] : span.attributes) {
    json += std::exchange(comma, ",");
    AppendAttribute(json, key, value);
  }
  json += "],\"status\":{";
  if (span.failed)
    absl::StrAppend(&json, "\"code\":", kStatusError, ",\"message\":", Text(span.message));
  json += "}}";
}

}  // namespace

std::string ExportRequestJson(const std::vector<std::pair<std::string, std::string>>& resource,
                              absl::Span<const SpanRecord> spans) {
  std::string json = "{\"resourceSpans\":[{\"resource\":{\"attributes\":[";
  const char* comma = "";
  for (const auto& [key, value] : resource) {
    json += std::exchange(comma, ",");
    AppendTextAttribute(json, key, value);
  }
  absl::StrAppend(&json, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"finetune-gateway\",",
                  "\"version\":\"", FINETUNE_VERSION, "\"},\"spans\":[");
  comma = "";
  for (const SpanRecord& span : spans) {
    json += std::exchange(comma, ",");
    AppendSpan(json, span);
  }
  return json += "]}]}]}";
}

int64_t RejectedSpans(std::string_view response) {
  JsonParser parser;
  const JsonValue* answer = parser.Parse(response);
  const JsonValue* partial = answer ? MemberOf(*answer, "partialSuccess") : nullptr;
  const JsonValue* rejected = partial ? MemberOf(*partial, "rejectedSpans") : nullptr;
  int64_t number = 0;
  if (rejected == nullptr || !absl::SimpleAtoi(TextOf(*rejected).value_or("0"), &number)) return 0;
  return number;
}

}  // namespace finetune
