#include "server/json/json.h"
#include "server/json/time_text.h"
#include "server/segmind/retry_time.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {
namespace {

void CheckTime(const std::optional<absl::Time>& time) {
  if (!time) return;
  // RFC 3339 and protobuf's Timestamp end there.
  CHECK(*time >= absl::FromUnixSeconds(-62'135'596'800));
  CHECK(*time < absl::FromUnixSeconds(253'402'300'800));
}

}  // namespace

// Points in time as others write them: in texts, in JSON and in headers.
void Fuzz(std::string_view input) {
  CheckTime(TimeOfText(input));
  JsonParser parser;
  if (const JsonValue* value = parser.Parse(input)) CheckTime(TimeOf(*value));
  const absl::Time now = absl::FromUnixSeconds(1'735'689'600);
  for (const char* name : {"retry-after", "x-rate-limit-reset-at-utc"}) {
    const HttpResponse response{429, {{name, std::string(input)}}, ""};
    if (const auto delay = RetryDelayIn(response, now))
      CHECK(*delay > absl::ZeroDuration() && *delay <= absl::Hours(24));
  }
  CheckTime(DateOf({200, {{"date", std::string(input)}}, ""}));
}

}  // namespace finetune
