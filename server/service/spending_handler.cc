#include "server/service/spending_handler.h"

#include <memory>
#include <utility>

#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/jobs/submission/spending_report.h"
#include "server/service/requests/violations.h"
#include "server/spending/period.h"

namespace finetune {
namespace {

// Rows have about 100 bytes each, so this many fit into a message that every client takes.
constexpr size_t kMaxRows = 20'000;

absl::StatusOr<SpendingSpec> CheckSpendingRequest(const pb::GetSpendingRequest& request,
                                                  const Caller& caller, absl::Time now) {
  Violations violations;
  SpendingSpec spec;
  const auto zone = FindZone(request.time_zone().empty() ? "UTC" : request.time_zone());
  if (!zone) violations.Add("time_zone", "must be an IANA name such as Europe/Berlin");
  spec.zone = zone.value_or(absl::UTCTimeZone());
  if (!pb::GetSpendingRequest::GroupBy_IsValid(request.group_by()))
    violations.Add("group_by", "must be CALLER, TEAM, MODEL or LABEL");
  if (!pb::GetSpendingRequest::Step_IsValid(request.step()))
    violations.Add("step", "must be MONTH or DAY");
  const bool by_label = request.group_by() == pb::GetSpendingRequest::LABEL;
  if (by_label && request.label_key().empty())
    violations.Add("label_key", "is required with LABEL");
  if (!by_label && !request.label_key().empty())
    violations.Add("label_key", "goes with group_by LABEL");
  const absl::Time start = request.has_start_time()
                               ? FromProto(request.start_time())
                               : PeriodAt(PeriodKind::kMonth, spec.zone, now).start;
  const absl::Time end =
      request.has_end_time() ? FromProto(request.end_time()) : absl::InfiniteFuture();
  if (start >= end) violations.Add("end_time", "must be after start_time");
  RETURN_IF_ERROR(violations.ToStatus());
  spec.start = QuarterOf(start);
  if (end != absl::InfiniteFuture()) spec.end = QuarterOf(end);
  if (request.group_by() != pb::GetSpendingRequest::GROUP_BY_UNSPECIFIED)
    spec.group_by = request.group_by();
  if (request.step() != pb::GetSpendingRequest::STEP_UNSPECIFIED) spec.step = request.step();
  spec.label_key = request.label_key();
  if (!caller.sees_all) spec.caller = caller.identity;
  return spec;
}

}  // namespace

void SpendingHandler::Get(const pb::GetSpendingRequest& request, UnaryCall& call) {
  auto spec = CheckSpendingRequest(request, call.caller(), parts_.clock.WallNow());
  if (!spec.ok()) return call.Fail(spec.status());
  auto report = std::make_shared<SpendingReport>(*spec);
  parts_.spending.Read(
      {.start = spec->start, .end = spec->end, .caller = spec->caller},
      [report](const SpendingRows& rows) { report->Add(rows); },
      [report, &call](absl::Status status) {
        // Not on the recorder's thread: the answer may be long.
        call.Later([report, status = std::move(status), &call] {
          if (!status.ok()) return call.Fail(status);
          if (report->size() > kMaxRows)
            return call.Fail(InvalidField("start_time",
                                          "there are too many rows: ask for less time, or for "
                                          "months"));
          call.Reply(report->ToProto());
        });
      });
}

}  // namespace finetune
