#include "server/base/trace.h"

#include <algorithm>
#include <cmath>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

// The layout is 00-{trace}-{span}-{flags}.
constexpr size_t kTraceAt = 3, kSpanAt = 36, kFlagsAt = 53, kLength = 55;

std::string Hex(uint64_t number) { return absl::StrCat(absl::Hex(number, absl::kZeroPad16)); }

// The standard requires this much to be passed on; more may be dropped.
constexpr size_t kLongestState = 512;

// Accepts lower-case digits only, as the standard says.
std::optional<uint64_t> ParseHex(std::string_view digits) {
  uint64_t number = 0;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    number = number << 4 | static_cast<uint64_t>(digit);
  }
  return number;
}

uint64_t RandomId() {
  thread_local absl::InsecureBitGen random;
  return absl::Uniform<uint64_t>(absl::IntervalClosed, random, 1, ~uint64_t{0});
}

}  // namespace

std::string TraceContext::TraceId() const {
  return valid() ? absl::StrCat(Hex(trace_high), Hex(trace_low)) : std::string();
}

std::string TraceContext::SpanId() const { return valid() ? Hex(span_id) : std::string(); }

std::string TraceContext::Traceparent() const {
  return absl::StrCat("00-", TraceId(), "-", SpanId(), sampled ? "-01" : "-00");
}

Span TraceContext::StartSpan(SpanKind kind, std::string_view name) const {
  if (tracer == nullptr || !tracer->enabled() || !sampled) return Span(*this);
  return StartSpanAt(tracer->clock_->Now(), kind, name);
}

Span TraceContext::StartSpanAt(absl::Time start, SpanKind kind, std::string_view name) const {
  if (tracer == nullptr || !sampled) return Span(*this);
  auto record = std::make_unique<SpanRecord>();
  record->attributes.reserve(8);
  record->context = *this;
  record->context.span_id = RandomId();
  record->parent_id = span_id;
  record->kind = kind;
  record->name = name;
  record->start = start;
  return Span(std::move(record));
}

std::optional<TraceContext> ParseTraceparent(std::string_view header) {
  if (header.size() < kLength || header[kTraceAt - 1] != '-' || header[kSpanAt - 1] != '-' ||
      header[kFlagsAt - 1] != '-')
    return std::nullopt;
  const auto version = ParseHex(header.substr(0, 2));
  // Later versions may have more, after another dash.
  if (!version || *version == 0xff) return std::nullopt;
  if (header.size() > kLength && (*version == 0 || header[kLength] != '-')) return std::nullopt;
  const auto high = ParseHex(header.substr(kTraceAt, 16));
  const auto low = ParseHex(header.substr(kTraceAt + 16, 16));
  const auto span = ParseHex(header.substr(kSpanAt, 16));
  const auto flags = ParseHex(header.substr(kFlagsAt, 2));
  if (!high || !low || !span || !flags) return std::nullopt;
  const TraceContext context{
      .trace_high = *high, .trace_low = *low, .span_id = *span, .sampled = (*flags & 1) != 0};
  if (!context.valid()) return std::nullopt;
  return context;
}

std::shared_ptr<const std::string> ParseTracestate(std::string_view header) {
  const bool printable =
      std::all_of(header.begin(), header.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (header.empty() || header.size() > kLongestState || !printable) return nullptr;
  return std::make_shared<const std::string>(header);
}

Span::Span(std::unique_ptr<SpanRecord> record)
    : context_(record->context), record_(std::move(record)) {}

Span& Span::operator=(Span&& other) noexcept {
  End();
  context_ = other.context_;
  record_ = std::move(other.record_);
  return *this;
}

void Span::Set(std::string_view key, std::string_view text) {
  if (record_) record_->attributes.emplace_back(key, std::string(text));
}

void Span::Set(std::string_view key, int64_t number) {
  if (record_) record_->attributes.emplace_back(key, number);
}

void Span::Set(std::string_view key, bool value) {
  if (record_) record_->attributes.emplace_back(key, value);
}

void Span::Fail(std::string_view type, std::string_view message) {
  if (!record_) return;
  Set("error.type", type);
  record_->failed = true;
  record_->message = message;
}

void Span::End() {
  if (record_) EndAt(context_.tracer->clock_->Now());
}

void Span::EndAt(absl::Time time) {
  if (!record_) return;
  const absl::Duration took = std::max(time - record_->start, absl::ZeroDuration());
  // Collectors line up spans from many machines by the time of day.
  record_->start = context_.tracer->clock_->ToWall(record_->start);
  record_->end = record_->start + took;
  context_.tracer->sink_->OnEnd(std::move(*record_));
  record_.reset();
}

Span Tracer::Start(absl::Time start, SpanKind kind, std::string_view name,
                   const TraceContext& parent) {
  TraceContext context = parent;
  if (sink_ == nullptr) return Span(context);
  context.tracer = this;
  if (!context.valid()) {
    context.trace_high = RandomId();
    context.trace_low = RandomId();
    context.span_id = 0;
  }
  context.sampled = Samples(parent, context.trace_low);
  if (context.sampled) return context.StartSpanAt(start, kind, name);
  // The span is not recorded, but logs and the next service can name it.
  if (context.span_id == 0) context.span_id = RandomId();
  return Span(context);
}

// Decided by the trace's id, so that all services with the same ratio decide alike.
bool Tracer::Samples(const TraceContext& parent, uint64_t trace_low) const {
  if (sampling_.follow_parent && parent.valid()) return parent.sampled;
  return sampling_.ratio >= 1 ||
         static_cast<double>(trace_low >> 1) < std::ldexp(std::max(sampling_.ratio, 0.0), 63);
}

}  // namespace finetune
