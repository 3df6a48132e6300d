#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"

namespace finetune {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Writes a line to stdout: a JSON object with `ts`, `level`, `msg`, then the fields. Thread-safe;
// a thread of its own writes, so that a slow pipe stalls nobody (the oldest lines are dropped).
//
//   Log(LogLevel::kInfo, "submitted", {{"fine_tune", name}, {"duration_s", seconds}});
//
// A Secret cannot be passed here.
struct LogField {
  using Value = std::variant<std::string_view, int64_t, double, bool>;
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  template <typename T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
  LogField(std::string_view k, T v) : key(k), value(static_cast<int64_t>(v)) {}

  std::string_view key;
  Value value;
};

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

// Lines below `level` are not written. Default kInfo.
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);
// Writes what is queued; call before the process ends.
void FlushLog();

// `text` as a JSON string, quotes included; invalid UTF-8 is replaced.
std::string JsonString(std::string_view text);

}  // namespace finetune
