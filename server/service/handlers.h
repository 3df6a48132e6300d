#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/long_work.h"
#include "server/base/turn_queue.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/job_waits.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/submission/spending_reader.h"
#include "server/jobs/submission/submitter.h"
#include "server/jobs/submission/updater.h"
#include "server/jobs/tracking/tracker.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/segmind/segmind_client.h"
#include "server/service/calls/unary_call.h"
#include "server/service/requests/dataset_url.h"
#include "server/service/requests/freshness_gate.h"
#include "server/service/requests/list_pages.h"
#include "server/service/transfers/transfers.h"
#include "server/service/watches/watch_queues.h"
#include "server/store/fleet.h"

namespace finetune {

// The parts of the service; all outlive the server's calls.
struct ServiceParts {
  Catalog& catalog;
  Tracker& tracker;
  Submitter& submitter;
  SpendingReader& spending;
  Updater& updater;
  JobWaits& job_waits;
  WatchHub& hub;
  WatchQueues& watch_queues;  // Of the hub's threads.
  SegmindClient& segmind;
  Clock& clock;
  Recorder& recorder;
  // InfinitePast if there was none.
  std::function<absl::Time()> last_webhook_time;
  // Null: this gateway does not transfer datasets and weights.
  Transfers* transfers = nullptr;
  // Null: datasets are not looked at. With `look_at_creates` those of creates are, too.
  const DatasetLooks* looks = nullptr;
  bool look_at_creates = true;
  // The name of this gateway among several.
  std::string replica;
  // Those that share the record.
  const Fleet& fleet;
  std::string_view store;  // What keeps the record.
  // What long lists are made within; null: without regard to others.
  LongWork* long_work = nullptr;
};

// The calls that only read. Handlers are thread-safe and answer `call` exactly once.
class ReadHandlers {
 public:
  explicit ReadHandlers(const ServiceParts& parts);

  void Get(pb::GetFineTuneRequest request, UnaryCall& call);
  void List(const pb::ListFineTunesRequest& request, UnaryCall& call);
  void Wait(const pb::WaitFineTuneRequest& request, UnaryCall& call);
  void Status(const pb::GetGatewayStatusRequest& request, UnaryCall& call);
  void Spending(const pb::GetSpendingRequest& request, UnaryCall& call);
  // What every caller is told: all but what is the caller's own.
  pb::GatewayStatus CommonStatus() const;
  absl::StatusOr<WatchSpec> CheckWatch(const pb::WatchFineTunesRequest& request,
                                       const Caller& caller);

  // Ends waits, which tell their callers that this server is stopping. Idempotent.
  void Drain();

 private:
  // Includes the caller's limits, as far as they could be counted.
  void AnswerStatus(const absl::StatusOr<Forecast>& forecast, UnaryCall& call);
  // Who else shares the record, where others do.
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

// The calls that change something at Segmind; the same rules.
class WriteHandlers {
 public:
  explicit WriteHandlers(const ServiceParts& parts) : parts_(parts) {}

  void Create(pb::CreateFineTuneRequest request, UnaryCall& call);
  void Update(pb::UpdateFineTuneRequest request, UnaryCall& call);
  void CreateUploadUrl(pb::CreateUploadUrlRequest request, UnaryCall& call);

 private:
  void UpdateFound(UpdateCall update, const pb::UpdateFineTuneRequest& request,
                   const VersionPtr& version, UnaryCall& call);
  void Validate(pb::FineTune checked, UnaryCall& call);
  void ValidateDataset(pb::FineTune checked, UnaryCall& call);

  const ServiceParts parts_;
};

// Of the policy's limits, those on spending.
SpendingLimits SpendingLimitsOf(const Caller& caller);

// How long a call waits that began at `start` and must be answered by `answer_by`, which is
// InfiniteFuture without a deadline.
absl::Time EndOfWait(const pb::WaitFineTuneRequest& request, absl::Time start,
                     absl::Time answer_by);

// The job of that name, if the caller may see it. INVALID_ARGUMENT / INVALID_FIELD on `field` for
// a malformed name; NOT_FOUND / FINE_TUNE_NOT_FOUND.
absl::StatusOr<VersionPtr> FindVisible(const Catalog& catalog, const std::string& name,
                                       const std::string& field, const Caller& caller);

// The same for a call, which fails if there is no such job. Where other processes write to the
// record, what is not known here may be known there: it is asked for once before that is said.
// `found` runs on a thread of the call's.
void WithVisible(const ServiceParts& parts, const std::string& name, const std::string& field,
                 UnaryCall& call, absl::AnyInvocable<void(const VersionPtr& version) &&> found);

}  // namespace finetune
