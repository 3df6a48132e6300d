#include "server/http/call_span.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/http/address_policy.h"

namespace finetune {
namespace {

void SetServer(Span& span, std::string_view url) {
  const auto parsed = Url::Parse(url);
  if (!parsed.ok()) return;
  span.Set("server.address", parsed->host());
  span.Set("server.port", parsed->port());
}

// The URL without the part that may be secret. Url::Parse accepts no credentials in URLs.
std::string_view WithoutQuery(std::string_view url) {
  return url.substr(0, url.find_first_of("?#"));
}

std::string_view PathOf(std::string_view url) {
  const size_t host = url.find("://");
  const size_t path = host == url.npos ? host : url.find('/', host + 3);
  return path == url.npos ? "/" : url.substr(path);
}

void SetCode(Span& span, int code) {
  if (code == 0) return;
  span.Set("http.response.status_code", code);
  if (code >= 400) span.Fail(absl::StrCat(code), "");
}

void SetTransportFailure(Span& span, const absl::Status& status) {
  if (status.ok()) return;
  const absl::string_view text = status.message();
  span.Fail(absl::StatusCodeToString(status.code()), std::string_view(text.data(), text.size()));
}

}  // namespace

Span StartCallSpan(const HttpRequest& request, const TraceContext& trace, absl::Time start,
                   int tries_before) {
  if (trace.tracer == nullptr || !trace.sampled) return Span(trace);
  const std::string_view url = WithoutQuery(request.url);
  Span span = trace.StartSpanAt(start, SpanKind::kClient,
                                absl::StrCat(request.method, " ", std::string(PathOf(url))));
  span.Set("http.request.method", request.method);
  span.Set("url.full", url);
  SetServer(span, url);
  if (tries_before > 0) span.Set("http.request.resend_count", tries_before);
  return span;
}

void EndCallSpan(Span& span, const HttpResult& result) {
  SetTransportFailure(span, result.status);
  if (result.status.ok()) SetCode(span, result.response.code);
  span.End();
}

Span StartStreamSpan(const StreamRequest& request) {
  Span span = request.trace.StartSpan(SpanKind::kClient, request.method);
  if (!span.recording()) return span;
  span.Set("http.request.method", request.method);
  SetServer(span, request.url.Reveal());
  return span;
}

void EndStreamSpan(Span& span, int code, const absl::Status& status) {
  SetCode(span, code);
  SetTransportFailure(span, status);
  span.End();
}

}  // namespace finetune
