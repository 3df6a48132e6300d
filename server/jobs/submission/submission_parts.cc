#include "server/jobs/submission/submission_parts.h"

#include "server/base/error.h"

namespace finetune {

namespace {

prometheus::Counter& Outcomes(Metrics& metrics, const char* outcome) {
  return metrics.Counter("finetune_gateway_submissions_total", "Submissions by outcome.",
                         {{"outcome", outcome}});
}

// Reasons for which submissions are refused before there is a job. Rarer ones count as `other`.
constexpr pb::ErrorReason::Reason kRefusals[] = {
    pb::ErrorReason::INVALID_FIELD,         pb::ErrorReason::UPSTREAM_REJECTED,
    pb::ErrorReason::UPSTREAM_RETIRED,      pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED,
    pb::ErrorReason::UPSTREAM_RATE_LIMITED, pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
    pb::ErrorReason::UPSTREAM_UNAVAILABLE,  pb::ErrorReason::OVERLOADED,
    pb::ErrorReason::SERVER_DRAINING};

prometheus::Counter& NotMade(Metrics& metrics, const std::string& reason) {
  return metrics.Counter("finetune_gateway_submissions_not_made_total",
                         "Submissions that made no job, by reason.", {{"reason", reason}});
}

}  // namespace

absl::Status SubmitterDraining() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::SERVER_DRAINING,
               "the gateway is stopping: send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

SubmissionParts::SubmissionParts(Submitter::Options the_options, SegmindClient& the_segmind,
                                 Recorder& the_recorder, Catalog& the_catalog, Tracker& the_tracker,
                                 Clock& the_clock, Metrics& the_metrics)
    : options(the_options),
      segmind(the_segmind),
      recorder(the_recorder),
      catalog(the_catalog),
      tracker(the_tracker),
      clock(the_clock),
      metrics(the_metrics),
      accepted(Outcomes(metrics, "accepted")),
      refused(Outcomes(metrics, "refused")),
      not_sent(Outcomes(metrics, "not_sent")),
      unknown(Outcomes(metrics, "unknown")),
      repeated(Outcomes(metrics, "repeated")),
      not_made_otherwise(NotMade(metrics, "other")) {
  for (const pb::ErrorReason::Reason reason : kRefusals)
    not_made[reason] = &NotMade(metrics, pb::ErrorReason::Reason_Name(reason));
}

bool SubmissionParts::MaySend(const std::string& owner) const {
  return !released && recorder.membership().Holds(owner, SteadyNow());
}

prometheus::Counter& SubmissionParts::BudgetRefusals(const std::string& budget) const {
  return metrics.Counter("finetune_gateway_budget_refusals_total",
                         "Submissions that a budget had no room for.", {{"budget", budget}});
}

prometheus::Counter& SubmissionParts::BudgetWarnings(const std::string& budget) const {
  return metrics.Counter(
      "finetune_gateway_budget_warnings_total",
      "Submissions beyond a soft budget, or beyond the share of one from which it warns.",
      {{"budget", budget}});
}

prometheus::Counter& SubmissionParts::EstimatedCost(const std::string& team,
                                                    const std::string& unit) const {
  return metrics.Counter("finetune_gateway_estimated_cost_total",
                         "What submissions that Segmind took at once were estimated at.",
                         {{"team", team}, {"unit", unit}});
}

prometheus::Counter& SubmissionParts::NotMadeFor(pb::ErrorReason::Reason reason) const {
  const auto found = not_made.find(reason);
  return found == not_made.end() ? not_made_otherwise : *found->second;
}

}  // namespace finetune
