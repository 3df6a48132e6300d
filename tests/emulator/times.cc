#include "tests/emulator/times.h"

#include <cstdint>
#include <ctime>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

int64_t Nanos(WallTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

// The whole seconds of `time`, in UTC moved by `zone_seconds`, as strftime writes them.
std::string Written(WallTime time, const char* format, int zone_seconds = 0) {
  const std::time_t seconds = Nanos(time) / 1'000'000'000 + zone_seconds;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char buffer[64];
  std::strftime(buffer, sizeof(buffer), format, &parts);
  return buffer;
}

std::string Fraction(WallTime time, int digits) {
  std::string nanos = absl::StrFormat("%09d", Nanos(time) % 1'000'000'000);
  return "." + nanos.substr(0, digits);
}

constexpr char kSeconds[] = "%Y-%m-%dT%H:%M:%S";

using Writer = std::string (*)(WallTime);

const std::map<std::string, Writer, std::less<>>& Writers() {
  static const auto* const writers = new std::map<std::string, Writer, std::less<>>{
      {"rfc3339", [](WallTime t) { return Quoted(Written(t, kSeconds) + "Z"); }},
      {"millis", [](WallTime t) { return Quoted(Written(t, kSeconds) + Fraction(t, 3) + "Z"); }},
      {"micros", [](WallTime t) { return Quoted(Written(t, kSeconds) + Fraction(t, 6) + "Z"); }},
      {"nanos", [](WallTime t) { return Quoted(Written(t, kSeconds) + Fraction(t, 9) + "Z"); }},
      {"offset", [](WallTime t) { return Quoted(Written(t, kSeconds, 19800) + "+05:30"); }},
      {"no_zone", [](WallTime t) { return Quoted(Written(t, kSeconds)); }},
      {"no_seconds", [](WallTime t) { return Quoted(Written(t, "%Y-%m-%dT%H:%MZ")); }},
      {"space", [](WallTime t) { return Quoted(Written(t, "%Y-%m-%d %H:%M:%S")); }},
      {"rfc1123", [](WallTime t) { return Quoted(HttpDate(t)); }},
      {"rfc2822", [](WallTime t) { return Quoted(Written(t, "%a, %d %b %Y %H:%M:%S +0000")); }},
      {"rfc850", [](WallTime t) { return Quoted(Written(t, "%A, %d-%b-%y %H:%M:%S GMT")); }},
      {"asctime", [](WallTime t) { return Quoted(Written(t, "%a %b %e %H:%M:%S %Y")); }},
      {"epoch", [](WallTime t) { return absl::StrCat(Nanos(t) / 1'000'000'000); }},
      {"epoch_fraction",
       [](WallTime t) { return absl::StrCat(Nanos(t) / 1'000'000'000, Fraction(t, 6)); }},
      {"epoch_ms", [](WallTime t) { return absl::StrCat(Nanos(t) / 1'000'000); }},
      {"epoch_text", [](WallTime t) { return Quoted(absl::StrCat(Nanos(t) / 1'000'000'000)); }},
      {"date_object",
       [](WallTime t) {
         const std::string text = Quoted(Written(t, kSeconds) + Fraction(t, 3) + "Z");
         return ObjectText().AddRaw("$date", text).Text();
       }},
      {"date_number",
       [](WallTime t) {
         const std::string ms =
             ObjectText().Add("$numberLong", absl::StrCat(Nanos(t) / 1'000'000)).Text();
         return ObjectText().AddRaw("$date", ms).Text();
       }},
      {"words", [](WallTime) { return Quoted("a moment ago"); }},
      {"null", [](WallTime) { return std::string("null"); }},
  };
  return *writers;
}

}  // namespace

std::string CompactTime(int64_t seconds) {
  return Written(WallTime(std::chrono::seconds(seconds)), "%Y%m%dT%H%M%SZ");
}

std::string TimeText(WallTime time, bool fraction) {
  return absl::StrCat(Written(time, kSeconds), fraction ? Fraction(time, 6) : "", "Z");
}

std::string HttpDate(WallTime time) { return Written(time, "%a, %d %b %Y %H:%M:%S GMT"); }

const std::vector<std::string>& TimestampFormats() {
  static const auto* const names = [] {
    auto* list = new std::vector<std::string>;
    for (const auto& [name, writer] : Writers()) list->push_back(name);
    return list;
  }();
  return *names;
}

std::string TimestampJson(WallTime time, std::string_view format) {
  const auto writer = Writers().find(format);
  return writer == Writers().end() ? "null" : writer->second(time);
}

WallTime Shifted(WallTime time, double seconds) {
  return time +
         std::chrono::duration_cast<WallTime::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace finetune::emulator
