#include "server/store/reading_bytes.h"

#include "server/base/error.h"
#include "server/store/record.pb.h"

namespace finetune {
namespace {

// A list that shows more than this many jobs no more shows nothing at all.
constexpr size_t kMostNotShown = 10'000;

int64_t ToNumber(absl::Time steady, const DatabaseClock& clock) {
  return absl::ToUnixNanos(steady == absl::InfinitePast() ? steady : clock.ToDatabase(steady));
}

absl::Time FromNumber(int64_t number, const DatabaseClock& clock) {
  const absl::Time time = absl::FromUnixNanos(number);
  return number == absl::ToUnixNanos(absl::InfinitePast()) ? absl::InfinitePast()
                                                           : clock.ToSteady(time);
}

}  // namespace

std::string EncodeReading(const FleetReading& reading, const DatabaseClock& clock) {
  record::Reading bytes;
  bytes.set_list_time(ToNumber(reading.list_time, clock));
  for (const auto& [id, time] : reading.not_shown) {
    if (static_cast<size_t>(bytes.not_shown_size()) >= kMostNotShown) break;
    record::Reading::NotShown& job = *bytes.add_not_shown();
    job.set_fine_tune_id(id);
    job.set_time(ToNumber(time, clock));
  }
  bytes.set_revision(reading.revision);
  bytes.set_partial(reading.partial);
  bytes.set_served(reading.served);
  bytes.set_failed(reading.failed);
  if (!reading.failure.ok()) {
    record::Reading::Failure& failure = *bytes.mutable_failure();
    failure.set_code(static_cast<int>(reading.failure.code()));
    failure.set_reason(ReasonOf(reading.failure));
    const absl::string_view why = reading.failure.message();
    failure.set_message(ValidUtf8({why.data(), why.size()}, 1'000));
  }
  if (reading.credits) {
    bytes.mutable_credits()->set_micros(reading.credits->micros);
    bytes.mutable_credits()->set_time(ToNumber(reading.credits->time, clock));
  }
  bytes.set_upstream_state(reading.upstream_state);
  return bytes.SerializeAsString();
}

std::optional<FleetReading> DecodeReading(std::string_view given, const DatabaseClock& clock) {
  record::Reading bytes;
  if (given.empty() || !bytes.ParseFromArray(given.data(), static_cast<int>(given.size())))
    return std::nullopt;
  FleetReading reading{.list_time = FromNumber(bytes.list_time(), clock),
                       .revision = bytes.revision(),
                       .partial = bytes.partial(),
                       .served = bytes.served(),
                       .failed = bytes.failed()};
  for (const record::Reading::NotShown& job : bytes.not_shown())
    reading.not_shown[job.fine_tune_id()] = FromNumber(job.time(), clock);
  if (bytes.has_failure()) {
    const int code = bytes.failure().code();
    const bool known =
        code > 0 && code <= 16 && pb::ErrorReason::Reason_IsValid(bytes.failure().reason());
    reading.failure =
        Error(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnavailable,
              known ? static_cast<pb::ErrorReason::Reason>(bytes.failure().reason())
                    : pb::ErrorReason::UPSTREAM_UNAVAILABLE,
              bytes.failure().message());
  }
  if (bytes.has_credits() && bytes.credits().micros() >= 0)
    reading.credits = {bytes.credits().micros(), FromNumber(bytes.credits().time(), clock)};
  if (pb::GatewayStatus::UpstreamState_IsValid(bytes.upstream_state()))
    reading.upstream_state = static_cast<pb::GatewayStatus::UpstreamState>(bytes.upstream_state());
  return reading;
}

}  // namespace finetune
