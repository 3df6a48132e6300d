#include "server/segmind/error_table.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

// The first byte chooses the code and the call; the rest is a header's value and the body.
void Fuzz(std::string_view input) {
  if (input.empty()) return;
  const auto choice = static_cast<unsigned char>(input[0]);
  input.remove_prefix(1);
  const Secret key("SECRETKEY");
  const HttpResponse response{300 + choice,
                              {{"x-rate-limit-reset-at-utc", std::string(input.substr(0, 40))},
                               {"x-request-id", std::string(input.substr(0, 200))}},
                              std::string(input)};
  const AnswerVerdict verdict =
      JudgeAnswer({kUpstreamCalls[choice % std::size(kUpstreamCalls)], "id"}, response,
                  absl::FromUnixSeconds(1'735'689'600), Scrubber(key));
  const absl::Status& status = verdict.status;
  CHECK(!status.ok() && ReasonOf(status) != pb::ErrorReason::REASON_UNSPECIFIED);
  CHECK(verdict.in_own_words || !verdict.refused);
  const std::string message(status.message());
  CHECK(IsValid(message) && message.size() <= 1024);
  CHECK(message.find(key.Reveal()) == std::string::npos);
  if (const auto delay = RetryDelayOf(status))
    CHECK(*delay >= absl::ZeroDuration() && *delay <= absl::Hours(24));
}

}  // namespace finetune
