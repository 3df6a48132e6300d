#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "server/base/worker.h"
#include "server/jobs/submission/submitter.h"

namespace finetune {

// UNAVAILABLE / SERVER_DRAINING.
absl::Status SubmitterDraining();

// What the submissions of one Submitter share. Lives as long as any callback that is under way.
struct SubmissionParts {
  SubmissionParts(Submitter::Options options, SegmindClient& segmind, Recorder& recorder,
                  Catalog& catalog, Tracker& tracker, Clock& clock, Metrics& metrics);

  // Constant after construction.
  const Submitter::Options options;
  SegmindClient& segmind;
  Recorder& recorder;
  Catalog& catalog;
  Tracker& tracker;
  Clock& clock;
  Metrics& metrics;

  // By name: those that had no room for a submission, and those that warned of one; and what those
  // that Segmind took were estimated at.
  prometheus::Counter& BudgetRefusals(const std::string& budget) const;
  prometheus::Counter& BudgetWarnings(const std::string& budget) const;
  prometheus::Counter& EstimatedCost(const std::string& team, const std::string& unit) const;

  // Millionths of a credit, where a submission must be within them; nullopt while that is unknown.
  std::optional<int64_t> CreditsLeft() const {
    if (!options.require_credits) return std::nullopt;
    const auto told = segmind.credits().At(clock.Now());
    return told ? std::optional(told->micros) : std::nullopt;
  }

  prometheus::Counter& accepted;
  prometheus::Counter& refused;
  prometheus::Counter& not_sent;
  prometheus::Counter& unknown;
  prometheus::Counter& repeated;
  // Submissions that made no job, by reason.
  prometheus::Counter& NotMadeFor(pb::ErrorReason::Reason reason) const;

  std::map<pb::ErrorReason::Reason, prometheus::Counter*> not_made;
  prometheus::Counter& not_made_otherwise;

  // Whether the POST of what is owned under that name may begin now. Thread-safe.
  bool MaySend(const std::string& owner) const;

  // Submitter's thread only.
  bool draining = false;

  // Others take over what is open: nothing more is sent.
  std::atomic<bool> released = false;

  // Callbacks come back through it, and are dropped once it has stopped.
  Worker worker{"submitter"};
};

}  // namespace finetune
