#include "server/service/read_handlers.h"

#include <algorithm>
#include <utility>

#include "server/access/caller_use.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/segmind/upstream_job.h"
#include "server/service/calls/draining.h"
#include "server/service/calls/wire_bytes.h"
#include "server/service/requests/violations.h"
#include "server/service/visible_job.h"

namespace finetune {
namespace {

// How long a wait takes if neither the request nor the call says.
constexpr absl::Duration kDefaultWait = absl::Hours(1);

// How many comparisons are made on the spot: about a third of a millisecond of work.
constexpr size_t kQuickScan = 10'000;

// A job passes states in order and may skip some: a later state satisfies the wish for an earlier
// one.
bool Meets(pb::FineTune::State state, pb::FineTune::State until) {
  if (state == until || IsTerminal(state)) return true;
  return until >= pb::FineTune::QUEUED && until <= pb::FineTune::AVAILABLE && state > until &&
         state <= pb::FineTune::AVAILABLE;
}

grpc::ByteBuffer WaitAnswer(const FineTuneVersion& version, std::string observe_time, bool done) {
  std::string head;
  AppendLengthPrefix(head, pb::WaitFineTuneResponse::kFineTuneFieldNumber,
                     version.full.size() + observe_time.size());
  AppendVarintField(observe_time, pb::WaitFineTuneResponse::kDoneFieldNumber, done ? 1 : 0);
  const grpc::Slice slices[] = {grpc::Slice(head), version.full, grpc::Slice(observe_time)};
  return grpc::ByteBuffer(slices, 3);
}

void AddBudgets(const std::vector<BudgetUse>& budgets, pb::GatewayStatus& status) {
  for (const BudgetUse& use : budgets) {
    pb::QuotaUse& quota = *status.add_quotas();
    quota.set_metric(absl::StrCat("budget:", use.budget.name));
    quota.set_limit(use.budget.limit);
    quota.set_used(use.used);
    quota.set_soft(use.budget.soft);
    if (use.budget.money) quota.set_unit(use.unit);
    if (use.reset != absl::InfiniteFuture()) *quota.mutable_reset_time() = ToProto(use.reset);
  }
}

void AddQuotas(const Caller& caller, const absl::StatusOr<Forecast>& forecast, absl::Time now,
               pb::GatewayStatus& status) {
  const auto add = [&](const char* metric, auto limit, int64_t used) {
    pb::QuotaUse& quota = *status.add_quotas();
    quota.set_metric(metric);
    quota.set_limit(static_cast<int64_t>(limit));
    quota.set_used(used);
  };
  const CallerLimits& limits = caller.limits;
  if (forecast.ok() && limits.creates_per_day)
    add("creates_per_day", *limits.creates_per_day, forecast->spending.creates.count);
  if (forecast.ok() && limits.active_jobs)
    add("active_jobs", *limits.active_jobs, forecast->spending.active_jobs);
  if (forecast.ok()) AddBudgets(forecast->budgets, status);
  if (caller.use == nullptr) return;
  if (limits.calls_per_second)
    add("calls_per_second", *limits.calls_per_second,
        caller.use->calls_used(*limits.calls_per_second, now));
  if (limits.watchers) add("watchers", *limits.watchers, caller.use->held(Share::kWatches));
  if (limits.transfers) add("transfers", *limits.transfers, caller.use->held(Share::kTransfers));
}

}  // namespace

ReadHandlers::ReadHandlers(const ServiceParts& parts)
    : parts_(parts),
      freshness_(parts.catalog, parts.tracker, parts.job_waits, parts.clock),
      pages_(parts.catalog, parts.clock) {}

std::string ReadHandlers::ObserveTimeOf(const FineTuneVersion& version) const {
  const absl::Time observed = parts_.catalog.ObserveTimeOf(version.id);
  const bool unread = observed == absl::InfinitePast();
  std::string field;
  // Until this process has read the job, the time in the record stands, unless it lies in the
  // future.
  if (unread && version.read_time <= parts_.clock.WallNow()) return field;
  AppendTimestampField(field, pb::FineTune::kObserveTimeFieldNumber,
                       unread ? absl::UnixEpoch() : parts_.clock.ToWall(observed));
  return field;
}

void ReadHandlers::WhenFresh(const pb::Freshness& wanted, const std::string& id, UnaryCall& call,
                             absl::AnyInvocable<void() &&> answer) {
  freshness_.Await(wanted, id, call,
                   [&call, answer = std::move(answer)](const absl::Status& status) mutable {
                     if (status.ok())
                       std::move(answer)();
                     else
                       call.Fail(status);
                   });
}

void ReadHandlers::Get(pb::GetFineTuneRequest request, UnaryCall& call) {
  if (!request.has_freshness()) return AnswerGet(request, call);
  const pb::Freshness freshness = request.freshness();
  const auto id = IdOf(request.name());
  // A job that is not known yet may be in the next list.
  const bool is_known = id && parts_.catalog.Find(*id) != nullptr;
  WhenFresh(freshness, is_known ? *id : "", call,
            [this, request = std::move(request), &call] { AnswerGet(request, call); });
}

void ReadHandlers::AnswerGet(const pb::GetFineTuneRequest& request, UnaryCall& call) {
  WithVisible(parts_, request.name(), "name", call, [this, &call](const VersionPtr& version) {
    call.SetFineTune(NameOf(version->id));
    const grpc::Slice slices[] = {version->full, grpc::Slice(ObserveTimeOf(*version))};
    call.ReplyBytes(grpc::ByteBuffer(slices, 2));
  });
}

void ReadHandlers::List(const pb::ListFineTunesRequest& request, UnaryCall& call) {
  auto query = pages_.Check(request, call.caller());
  if (!query.ok()) return call.Fail(query.status());
  if (!request.has_freshness()) return AnswerList(*query, call);
  WhenFresh(request.freshness(), "", call,
            [this, query = *std::move(query), &call] { AnswerList(query, call); });
}

void ReadHandlers::AnswerList(const ListQuery& query, UnaryCall& call) {
  const size_t cost = pages_.CostOf(query);
  if (cost <= kQuickScan) {
    LongWork::Piece at_once(nullptr);
    return call.ReplyBytes(pages_.Page(query, at_once));
  }
  if (absl::Status room = call.Take(Share::kScans, static_cast<int64_t>(cost / 1000)); !room.ok())
    return call.Fail(room);
  // On a thread of its own, so that other calls do not wait for it; dropped if the client is gone.
  const uint64_t number = scans_.Post(call.sharer().get(), [this, query, &call] {
    LongWork::Piece work(parts_.long_work);
    call.ReplyBytes(pages_.Page(query, work));
  });
  if (number == 0) return call.Fail(Draining());
  call.OnCancelDo([this, number, &call] {
    if (scans_.Drop(number)) call.Fail(absl::CancelledError("the client is gone"));
  });
}

void ReadHandlers::Wait(const pb::WaitFineTuneRequest& request, UnaryCall& call) {
  Violations violations;
  if (!pb::FineTune::State_IsValid(request.until()))
    violations.Add("until", "is not a known state");
  if (request.has_timeout() && FromProto(request.timeout()) < absl::ZeroDuration())
    violations.Add("timeout", "must not be negative");
  if (!violations.empty()) return call.Fail(violations.ToStatus());
  WithVisible(
      parts_, request.name(), "name", call,
      [this, request, &call](const VersionPtr& version) { BeginWait(request, version, call); });
}

void ReadHandlers::BeginWait(const pb::WaitFineTuneRequest& request, const VersionPtr& version,
                             UnaryCall& call) {
  call.SetFineTune(request.name());
  const auto until = request.until() == pb::FineTune::STATE_UNSPECIFIED ? pb::FineTune::AVAILABLE
                                                                        : request.until();
  const absl::Time deadline = EndOfWait(request, call.start(), call.answer_by());
  if (version->details_pending && Meets(version->state, until))
    parts_.tracker.Complete(version->upstream_id);
  const uint64_t ticket = parts_.job_waits.WaitForFineTune(
      version->id,
      [until](const FineTuneVersion& seen) {
        // The details for which one waits for the state come with another read, which follows at
        // once.
        return Meets(seen.state, until) && !seen.details_pending;
      },
      deadline,
      [this, until, last = version, &call](const VersionPtr& seen, bool) {
        const VersionPtr& latest = seen != nullptr ? seen : last;
        EndWait(latest, Meets(latest->state, until), call);
      });
  call.OnCancelDo([this, ticket] { parts_.job_waits.Cancel(ticket); });
  call.OnRevokedDo([this, ticket](const absl::Status&) { parts_.job_waits.Cancel(ticket); });
}

absl::Time EndOfWait(const pb::WaitFineTuneRequest& request, absl::Time start,
                     absl::Time answer_by) {
  if (request.has_timeout()) return std::min(start + FromProto(request.timeout()), answer_by);
  return answer_by == absl::InfiniteFuture() ? start + kDefaultWait : answer_by;
}

void ReadHandlers::EndWait(const VersionPtr& version, bool met, UnaryCall& call) {
  call.Later([this, version, met, &call] {
    if (absl::Status why = call.revoked(); !why.ok()) return call.Fail(why);
    if (!met && draining_ && parts_.clock.Now() < call.answer_by()) return call.Fail(Draining());
    call.ReplyBytes(WaitAnswer(*version, ObserveTimeOf(*version), met));
  });
}

void ReadHandlers::Drain() {
  draining_ = true;
  parts_.job_waits.Shutdown();
}

void ReadHandlers::Status(const pb::GetGatewayStatusRequest&, UnaryCall& call) {
  const Caller& caller = call.caller();
  const bool has_budgets = caller.spender != nullptr && !caller.spender->rules->budgets.empty();
  if (!SpendingLimitsOf(caller).any() && !has_budgets) return AnswerStatus(Forecast(), call);
  parts_.submitter.Foresee(
      {.caller = caller.identity, .limits = SpendingLimitsOf(caller), .spender = caller.spender},
      [this, &call](absl::StatusOr<Forecast> forecast) {
        call.Later([this, forecast = std::move(forecast), &call] { AnswerStatus(forecast, call); });
      });
}

pb::GatewayStatus ReadHandlers::CommonStatus() const {
  pb::GatewayStatus status;
  const absl::Time observed = parts_.catalog.observe_time();
  const ViewPtr view = parts_.catalog.view();
  status.set_version(FINETUNE_VERSION);
  status.set_upstream_state(parts_.tracker.upstream_state());
  if (observed != absl::InfinitePast())
    *status.mutable_observe_time() = ToProto(parts_.clock.ToWall(observed));
  if (const absl::Time webhook = parts_.last_webhook_time(); webhook != absl::InfinitePast())
    *status.mutable_last_webhook_time() = ToProto(webhook);
  status.set_revision(view->revision());
  status.set_fine_tune_count(static_cast<int64_t>(view->size()));
  status.set_active_fine_tune_count(static_cast<int64_t>(view->active()));
  status.set_watcher_count(parts_.hub.watcher_count());
  status.set_upstream_calls_left(parts_.segmind.calls_left());
  if (const auto credits = parts_.segmind.credits().At(parts_.clock.Now())) {
    status.mutable_credits()->set_micros(credits->micros);
    *status.mutable_credits()->mutable_observe_time() = ToProto(parts_.clock.ToWall(credits->time));
  }
  status.set_replica(parts_.replica);
  AddFleet(status);
  return status;
}

void ReadHandlers::AnswerStatus(const absl::StatusOr<Forecast>& forecast, UnaryCall& call) {
  pb::GatewayStatus status = CommonStatus();
  status.mutable_caller()->set_name(call.caller().identity);
  status.mutable_caller()->set_role(static_cast<pb::CallerIdentity::Role>(call.caller().role));
  AddQuotas(call.caller(), forecast, parts_.clock.Now(), status);
  call.Reply(status);
}

void ReadHandlers::AddFleet(pb::GatewayStatus& status) const {
  status.set_store(std::string(parts_.store));
  if (!parts_.fleet.is_shared()) return;
  const FleetStatus fleet = parts_.fleet.status();
  for (const FleetMember& member : fleet.members) {
    pb::ReplicaStatus& replica = *status.add_replicas();
    replica.set_name(member.name);
    replica.set_version(member.version);
    *replica.mutable_start_time() = ToProto(member.started);
    replica.set_leader(member.leads);
  }
  status.set_leader_term(fleet.term.number);
  if (fleet.complete != absl::InfinitePast())
    status.mutable_store_lag()->set_seconds(
        absl::ToInt64Seconds(parts_.clock.Now() - fleet.complete));
}

absl::StatusOr<WatchSpec> ReadHandlers::CheckWatch(const pb::WatchFineTunesRequest& request,
                                                   const Caller& caller) {
  constexpr int kMaxNames = 1000;
  Violations violations;
  if (request.names_size() > kMaxNames)
    violations.Add("names", absl::StrCat("at most ", kMaxNames, " names"));
  if (!pb::FineTuneView_IsValid(request.view())) violations.Add("view", "is not a known view");
  if (!pb::WatchFineTunesRequest::Delivery_IsValid(request.delivery()))
    violations.Add("delivery", "is not a known delivery");
  if (!pb::WatchFineTunesRequest::GapPolicy_IsValid(request.gap_policy()))
    violations.Add("gap_policy", "is not a known policy");
  WatchSpec spec;
  spec.sharer = caller.use;
  if (request.has_heartbeat_interval()) {
    spec.heartbeat_interval = FromProto(request.heartbeat_interval());
    if (spec.heartbeat_interval < absl::Seconds(1) || spec.heartbeat_interval > absl::Minutes(1))
      violations.Add("heartbeat_interval", "must be 1 to 60 seconds");
  }
  RETURN_IF_ERROR(violations.ToStatus());
  for (const std::string& name : request.names()) {
    ASSIGN_OR_RETURN(const VersionPtr version, FindVisible(parts_.catalog, name, "names", caller));
    spec.ids.push_back(version->id);
  }
  std::sort(spec.ids.begin(), spec.ids.end());
  spec.ids.erase(std::unique(spec.ids.begin(), spec.ids.end()), spec.ids.end());
  ASSIGN_OR_RETURN(spec.filter, Filter::Parse(request.filter()));
  if (!caller.sees_all) spec.filter = Filter::WithCreator(spec.filter, caller.identity);
  if (!request.resume_token().empty()) {
    ASSIGN_OR_RETURN(spec.resume, DecodeResumeToken(request.resume_token()));
  }
  spec.skip_snapshot = request.skip_snapshot();
  if (request.view() == pb::FINE_TUNE_VIEW_FULL) spec.view = pb::FINE_TUNE_VIEW_FULL;
  spec.every = request.delivery() == pb::WatchFineTunesRequest::EVERY;
  spec.fail_on_gap = request.gap_policy() == pb::WatchFineTunesRequest::FAIL;
  return spec;
}

}  // namespace finetune
