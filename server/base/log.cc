#include "server/base/log.h"

#include <unistd.h>

#include <atomic>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/base/line_writer.h"

namespace finetune {
namespace {

std::atomic<LogLevel> least_level{LogLevel::kInfo};

constexpr absl::string_view kNames[] = {"debug", "info", "warning", "error"};

// The most memory that a reader who has stopped may cost.
constexpr size_t kMostBytes = 4 << 20;
// How long the end of the process waits for the last lines.
constexpr absl::Duration kFlushPatience = absl::Seconds(2);

// A line up to its message.
std::string Beginning(LogLevel level, std::string_view message) {
  return absl::StrCat(
      "{\"ts\":\"", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone()),
      "\",\"level\":\"", kNames[static_cast<int>(level)], "\",\"msg\":", JsonString(message));
}

LineWriter& Writer() {
  // Never destroyed, so that threads may log until the process ends.
  static auto* const writer = new LineWriter(STDOUT_FILENO, kMostBytes, [](uint64_t lines) {
    return absl::StrCat(Beginning(LogLevel::kWarning, "log lines were dropped"),
                        ",\"lines\":", lines, "}");
  });
  return *writer;
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
  std::string line = Beginning(level, message);
  for (const LogField& field : fields) {
    absl::StrAppend(&line, ",", JsonString(field.key), ":");
    AppendValue(line, field.value);
  }
  line += '}';
  Writer().Append(std::move(line));
}

void FlushLog() { Writer().Flush(kFlushPatience); }

}  // namespace finetune
