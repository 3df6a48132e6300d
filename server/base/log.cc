#include "server/base/log.h"

#include <atomic>
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "spdlog/async.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace finetune {
namespace {

std::atomic<LogLevel> least_level{LogLevel::kInfo};

constexpr absl::string_view kNames[] = {"debug", "info", "warning", "error"};

spdlog::logger& Logger() {
  // Never destroyed, so that threads may log until the process ends.
  static auto* const pool =
      new std::shared_ptr(std::make_shared<spdlog::details::thread_pool>(8192, 1));
  static auto* const logger = [] {
    auto made = std::make_shared<spdlog::async_logger>(
        "", std::make_shared<spdlog::sinks::stdout_sink_mt>(), *pool,
        spdlog::async_overflow_policy::overrun_oldest);
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return new std::shared_ptr(std::move(made));
  }();
  return **logger;
}

void AppendValue(std::string& line, const LogField::Value& value) {
  if (auto* text = std::get_if<std::string_view>(&value)) {
    line += JsonString(*text);
  } else if (auto* number = std::get_if<int64_t>(&value)) {
    absl::StrAppend(&line, *number);
  } else if (auto* real = std::get_if<double>(&value)) {
    if (std::isfinite(*real))
      absl::StrAppend(&line, *real);
    else
      line += "null";
  } else {
    line += std::get<bool>(value) ? "true" : "false";
  }
}

}  // namespace

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (char c : ValidUtf8(text)) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          absl::StrAppendFormat(&out, "\\u%04x", static_cast<int>(c));
        } else {
          out += c;
        }
    }
  }
  return out += '"';
}

void SetLogLevel(LogLevel level) { least_level = level; }

bool LogEnabled(LogLevel level) { return level >= least_level.load(std::memory_order_relaxed); }

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  std::string line = absl::StrCat(
      "{\"ts\":\"", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone()),
      "\",\"level\":\"", kNames[static_cast<int>(level)], "\",\"msg\":", JsonString(message));
  for (const LogField& field : fields) {
    absl::StrAppend(&line, ",", JsonString(field.key), ":");
    AppendValue(line, field.value);
  }
  line += '}';
  Logger().log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

void FlushLog() { Logger().flush(); }

}  // namespace finetune
