#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "server/base/clock.h"

namespace finetune {

class Span;
class Tracer;

enum class SpanKind { kInternal, kServer, kClient };

// Where in which trace something happens (W3C Trace Context). It is passed by value with a call to
// whatever thread continues it; there is no "current span". The default is no trace at all.
struct TraceContext {
  uint64_t trace_high = 0;
  uint64_t trace_low = 0;
  uint64_t span_id = 0;
  bool sampled = false;
  // The `tracestate` of the systems that the trace came through, to be passed on; null if there is
  // none.
  std::shared_ptr<const std::string> state;
  // Null: nothing below is recorded, though the ids are passed on. Outlives the context.
  Tracer* tracer = nullptr;

  bool valid() const { return (trace_high | trace_low) != 0 && span_id != 0; }
  // In hexadecimal digits, as in logs, headers and OTLP; empty for no trace.
  std::string TraceId() const;
  std::string SpanId() const;
  // The header's value.
  std::string Traceparent() const;

  // Begins a span below this one, now. Without a tracer, or unsampled, nothing is recorded, which
  // costs one comparison, and the span's context is this one.
  Span StartSpan(SpanKind kind, std::string_view name) const;
  Span StartSpanAt(absl::Time start, SpanKind kind, std::string_view name) const;
};

// What a `traceparent` header says; nullopt if the standard calls it invalid.
std::optional<TraceContext> ParseTraceparent(std::string_view header);

// What a `tracestate` header says, to be passed on as it is; null if it is empty, longer than 512
// characters or not printable.
std::shared_ptr<const std::string> ParseTracestate(std::string_view header);

// A span that has ended.
struct SpanRecord {
  using Value = std::variant<std::string, int64_t, bool>;

  TraceContext context;
  uint64_t parent_id = 0;  // 0: the trace begins here.
  SpanKind kind = SpanKind::kInternal;
  std::string name;
  absl::Time start;
  absl::Time end;
  std::vector<std::pair<std::string_view, Value>> attributes;  // The keys are literals.
  bool failed = false;
  std::string message;  // Of a failed one.
};

// One step of a call, from its construction until End or its destruction. Most spans record nothing
// and cost nothing: guard what is costly to compute for one with recording(). Not thread-safe.
// Never give it a secret.
class Span {
 public:
  Span() = default;
  // Records nothing; what happens within it belongs to `context`.
  explicit Span(const TraceContext& context) : context_(context) {}
  explicit Span(std::unique_ptr<SpanRecord> record);
  Span(Span&&) = default;
  Span& operator=(Span&& other) noexcept;
  ~Span() { End(); }

  // For what happens within it.
  const TraceContext& context() const { return context_; }
  bool recording() const { return record_ != nullptr; }

  // `key` is a literal.
  void Set(std::string_view key, std::string_view text);
  void Set(std::string_view key, const char* text) { Set(key, std::string_view(text)); }
  void Set(std::string_view key, int64_t number);
  void Set(std::string_view key, int number) { Set(key, int64_t{number}); }
  void Set(std::string_view key, bool value);
  // `type` is one of a few words, such as a code.
  void Fail(std::string_view type, std::string_view message);

  // Ends it now, or at `time`. Idempotent.
  void End();
  void EndAt(absl::Time time);

 private:
  TraceContext context_;
  std::unique_ptr<SpanRecord> record_;
};

// Receives what is recorded. Thread-safe; must not block. Outlives its tracer.
class SpanSink {
 public:
  virtual ~SpanSink() = default;
  virtual void OnEnd(SpanRecord record) = 0;
};

// Begins traces and decides which are recorded. Thread-safe. Outlives all spans and contexts.
class Tracer {
 public:
  struct Sampling {
    // Whether a caller's trace is recorded if, and only if, the caller records it.
    bool follow_parent = true;
    // The share of all other traces that is recorded, from 0 to 1.
    double ratio = 1;
  };

  // Off: records nothing, and begins no trace either.
  Tracer() = default;
  Tracer(Sampling sampling, SpanSink& sink, Clock& clock)
      : sampling_(sampling), sink_(&sink), clock_(&clock) {}

  bool enabled() const { return sink_ != nullptr; }

  // A span below `parent`, which came from outside, or a new trace if `parent` is invalid.
  Span Start(absl::Time start, SpanKind kind, std::string_view name, const TraceContext& parent);

 private:
  friend class Span;
  friend struct TraceContext;

  bool Samples(const TraceContext& parent, uint64_t trace_low) const;

  // Constant after construction.
  const Sampling sampling_ = {};
  SpanSink* const sink_ = nullptr;
  Clock* const clock_ = nullptr;
};

}  // namespace finetune
