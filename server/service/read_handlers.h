#pragma once

#include <atomic>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/turn_queue.h"
#include "server/service/calls/unary_call.h"
#include "server/service/requests/freshness_gate.h"
#include "server/service/requests/list_pages.h"
#include "server/service/service_parts.h"

namespace finetune {

// The calls that only read. Handlers are thread-safe and answer `call` exactly once.
class ReadHandlers {
 public:
  explicit ReadHandlers(const ServiceParts& parts);

  void Get(pb::GetFineTuneRequest request, UnaryCall& call);
  void List(const pb::ListFineTunesRequest& request, UnaryCall& call);
  void Wait(const pb::WaitFineTuneRequest& request, UnaryCall& call);
  void Status(const pb::GetGatewayStatusRequest& request, UnaryCall& call);
  // What every caller is told: everything except what concerns the caller itself.
  pb::GatewayStatus CommonStatus() const;
  absl::StatusOr<WatchSpec> CheckWatch(const pb::WatchFineTunesRequest& request,
                                       const Caller& caller);

  // Ends waits, which tell their callers that this server is stopping. Idempotent.
  void Drain();

 private:
  // Includes the caller's limits, as far as they could be counted.
  void AnswerStatus(const absl::StatusOr<Forecast>& forecast, UnaryCall& call);
  // Adds who else shares the record, if others do.
  void AddFleet(pb::GatewayStatus& status) const;
  // Runs `answer` once memory is as new as requested, for that job or for all, or fails the call.
  void WhenFresh(const pb::Freshness& wanted, const std::string& id, UnaryCall& call,
                 absl::AnyInvocable<void() &&> answer);
  void AnswerGet(const pb::GetFineTuneRequest& request, UnaryCall& call);
  void BeginWait(const pb::WaitFineTuneRequest& request, const VersionPtr& version,
                 UnaryCall& call);
  void AnswerList(const ListQuery& query, UnaryCall& call);
  void EndWait(const VersionPtr& version, bool met, UnaryCall& call);
  // `version.full` and after it what overrides its observe_time.
  std::string ObserveTimeOf(const FineTuneVersion& version) const;

  const ServiceParts parts_;
  FreshnessGate freshness_;
  ListPages pages_;
  std::atomic<bool> draining_ = false;
  // Makes pages that take a while.
  TurnQueue scans_{"lists"};
};

// Until when a call waits that began at `start` and must be answered by `answer_by`, which is
// InfiniteFuture without a deadline.
absl::Time EndOfWait(const pb::WaitFineTuneRequest& request, absl::Time start,
                     absl::Time answer_by);

}  // namespace finetune
