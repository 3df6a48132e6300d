#include "tests/fuzz/targets.h"

#include <map>

#include "server/base/check.h"
#include "server/segmind/error_table.h"
#include "server/segmind/json_job.h"
#include "server/segmind/list_reader.h"
#include "server/segmind/webhook_event.h"

namespace finetune {
namespace {

bool IsValid(std::string_view text) { return ValidUtf8(text) == text; }

void CheckJob(const UpstreamJob& job) {
  CHECK(!job.id.empty() && IsValid(job.id) && IsValid(job.request_id) && IsValid(job.status));
  CHECK(job.request_id != job.id);
  for (const auto* text : {&job.name, &job.error_message, &job.slug, &job.cloud_storage_url})
    if (*text) CHECK(IsValid(**text) && (*text)->size() <= kMaxJsonString);
  // Protobuf refuses what is not valid UTF-8 or is nested too deeply.
  if (job.parameters) {
    pb::TrainingParameters copy;
    CHECK(copy.ParseFromString(job.parameters->SerializeAsString()));
    SubmitBody(
        [&] {
          pb::FineTune fine_tune;
          *fine_tune.mutable_parameters() = copy;
          return fine_tune;
        }(),
        "name");
  }
  if (job.model_information) {
    google::protobuf::Struct copy;
    CHECK(copy.ParseFromString(job.model_information->SerializeAsString()));
  }
}

}  // namespace

// The input is several lists, one a line: after each, what the deltas add up to is what a reader
// that sees only this list says.
void FuzzList(std::string_view input) {
  ListReader reader;
  std::map<std::string, std::string> known;
  while (!input.empty()) {
    const size_t end = std::min(input.find('\n'), input.size());
    const std::string_view body = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));

    ListReader fresh;
    const absl::StatusOr<ListDelta> whole = fresh.Read(body);
    const absl::StatusOr<ListDelta> delta = reader.Read(body);
    CHECK(whole.ok() == delta.ok());
    if (!delta.ok()) {
      CHECK(ReasonOf(delta.status()) == pb::ErrorReason::UPSTREAM_MALFORMED);
      continue;
    }
    for (const std::string& id : delta->gone) known.erase(id);
    for (const UpstreamJob& job : delta->changed) {
      CheckJob(job);
      known[job.id] = job.status;
    }
    std::map<std::string, std::string> want;
    for (const UpstreamJob& job : whole->changed) want[job.id] = job.status;
    CHECK(known == want);
    CHECK(whole->total == delta->total && whole->skipped == delta->skipped);
  }
}

void FuzzDetails(std::string_view input) {
  JsonParser parser;
  const JsonValue* value = parser.Parse(input);
  if (value == nullptr) return;
  if (const std::optional<UpstreamJob> job = JobInAnswer(*value)) CheckJob(*job);
}

void FuzzWebhook(std::string_view input) {
  const std::optional<WebhookEvent> event = ParseWebhook(input);
  if (event) CHECK(!event->id.empty() && IsValid(event->id) && IsValid(event->status));
}

// The first byte chooses the code and the call; the rest is a header's value and the body.
void FuzzError(std::string_view input) {
  if (input.empty()) return;
  const auto choice = static_cast<unsigned char>(input[0]);
  input.remove_prefix(1);
  const Secret key("SECRETKEY");
  const HttpResponse response{
      300 + choice,
      {{"x-rate-limit-reset-at-utc", std::string(input.substr(0, 40))}, {"x-request-id", "r"}},
      std::string(input)};
  const absl::Status status = StatusOfAnswer({kUpstreamCalls[choice % 6], "id"}, response,
                                             absl::FromUnixSeconds(1'735'689'600), key);
  CHECK(!status.ok() && ReasonOf(status) != pb::ErrorReason::REASON_UNSPECIFIED);
  const std::string message(status.message());
  CHECK(IsValid(message) && message.size() <= 1024);
  CHECK(message.find(key.Reveal()) == std::string::npos);
  if (const auto delay = RetryDelayOf(status))
    CHECK(*delay >= absl::ZeroDuration() && *delay <= absl::Hours(1));
}

}  // namespace finetune
