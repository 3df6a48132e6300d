#include "server/service/calls/call_gate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/access/peer_address.h"
#include "server/base/check.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/status_memo.h"
#include "server/service/calls/call_trace.h"
#include "server/service/calls/draining.h"

namespace finetune {
namespace {

struct Rule {
  const char* name;
  Role least_role;
  // For calls without a deadline of their own; those that last have none.
  absl::Duration default_deadline;
  // Served from memory: logged by sample.
  bool cheap;
  // Which of the caller's shares a call takes a place of.
  Share place = Share::kCalls;
};

const Rule& RuleOf(Method method) {
  static const absl::Duration kUnary = absl::Seconds(30);
  static const absl::Duration kLasting = absl::InfiniteDuration();
  static const Rule kRules[kMethods] = {
      {"CreateFineTune", Role::kSubmitter, kUnary, false},
      {"GetFineTune", Role::kViewer, kUnary, true},
      {"ListFineTunes", Role::kViewer, kUnary, true},
      {"WatchFineTunes", Role::kViewer, kLasting, false, Share::kWatches},
      {"WaitFineTune", Role::kViewer, kLasting, false, Share::kWaits},
      {"UpdateFineTune", Role::kSubmitter, kUnary, false},
      {"CreateUploadUrl", Role::kSubmitter, kUnary, false},
      {"UploadDataset", Role::kSubmitter, kLasting, false, Share::kTransfers},
      {"DownloadWeights", Role::kViewer, kLasting, false, Share::kTransfers},
      {"GetGatewayStatus", Role::kViewer, kUnary, true},
      {"GetSpending", Role::kViewer, kUnary, false},
  };
  return kRules[static_cast<int>(method)];
}

bool MayLast(Method method) { return RuleOf(method).place != Share::kCalls; }

// Calls that change something: an attempt at one is worth recording.
bool IsWrite(Method method) { return RuleOf(method).least_role > Role::kViewer; }

constexpr pb::ErrorReason::Reason kRefusals[] = {pb::ErrorReason::CREDENTIALS_MISSING,
                                                 pb::ErrorReason::CREDENTIALS_INVALID,
                                                 pb::ErrorReason::ROLE_NOT_ALLOWED,
                                                 pb::ErrorReason::CLIENT_QUOTA_EXCEEDED,
                                                 pb::ErrorReason::OVERLOADED,
                                                 pb::ErrorReason::ACCESS_CHANGED,
                                                 pb::ErrorReason::ISSUER_KEYS_UNAVAILABLE};

// The reason with which a call ended. Calls refused in great numbers are refused with the same
// status.
pb::ErrorReason::Reason ReasonAtEnd(const absl::Status& status) {
  thread_local StatusMemo<pb::ErrorReason::Reason> known;
  return absl::IsResourceExhausted(status) ? known.Of(status, ReasonOf) : ReasonOf(status);
}

// As the log has it.
std::string NameOf(pb::ErrorReason::Reason reason) {
  return reason == pb::ErrorReason::REASON_UNSPECIFIED ? std::string()
                                                       : pb::ErrorReason::Reason_Name(reason);
}

void WriteRefusals(const RefusalLog::Refused& refused, int64_t calls) {
  Log(LogLevel::kInfo, "more calls were refused",
      {{"audit", true},
       {"client", refused.caller},
       {"peer", refused.machine},
       {"reason", NameOf(refused.reason)},
       {"calls", calls}});
}

const google::protobuf::ServiceDescriptor& Descriptor() {
  return *pb::WatchFineTunesRequest::descriptor()->file()->FindServiceByName("FineTuneService");
}

}  // namespace

absl::Time Call::answer_by() const {
  const absl::Duration left = deadline - start;
  return deadline - std::clamp(left / 10, absl::Milliseconds(20), absl::Milliseconds(500));
}

CallGate::CallGate(Options options, Authenticator& authenticator, Clock& clock, Metrics& metrics,
                   Tracer& tracer)
    : options_(options),
      authenticator_(authenticator),
      clock_(clock),
      tracer_(tracer),
      unknown_(metrics),
      lasting_(authenticator, clock),
      untaken_answers_(clock, metrics),
      refusal_log_(clock, WriteRefusals) {
  const auto& service = Descriptor();
  CHECK(service.method_count() == kMethods);
  for (int i = 0; i < kMethods; ++i) {
    CHECK(service.method(i)->name() == RuleOf(static_cast<Method>(i)).name);
    methods_.emplace_back(metrics, *service.method(i));
    span_names_.push_back(absl::StrCat(service.full_name(), "/", service.method(i)->name()));
  }
  const FairShare::Limits limits[kShares] = {
      options.calls,        options.waits, options.watches, options.transfers,
      options.answer_bytes, options.scans, options.checks,  options.watch_terms};
  for (int i = 0; i < kShares; ++i)
    shares_[i] = std::make_unique<FairShare>(static_cast<Share>(i), limits[i], metrics);
  for (const pb::ErrorReason::Reason reason : kRefusals) {
    refusals_[reason] =
        &metrics.Counter("finetune_gateway_refused_calls_total",
                         "Calls refused because of who made them or of their caller's limits.",
                         {{"reason", pb::ErrorReason::Reason_Name(reason)}});
  }
}

absl::Status CallGate::Admit(Method method, grpc::ServerContextBase* context, Call& call) {
  RETURN_IF_ERROR(Begin(method, context, call));
  return Enter(call);
}

absl::Status CallGate::Begin(Method method, grpc::ServerContextBase* context, Call& call) {
  methods_[static_cast<int>(method)].OnStarted();
  call.method = method;
  call.context = context;
  call.start = clock_.Now();
  const absl::Time latest = call.start + RuleOf(method).default_deadline;
  // gRPC gives the deadline as a time of day, which it has computed from the time left on the
  // monotonic clock.
  const absl::Time asked = clock_.FromWall(absl::FromChrono(context->deadline()));
  // gRPC expresses "no deadline" by a time in the far future.
  call.deadline = asked > call.start + absl::Hours(24 * 365) ? latest : asked;
  const bool cheap = RuleOf(method).cheap;
  if (!cheap) call.peer = context->peer();
  // Reading metadata is not free, and without a tracer a cheap call's trace goes nowhere.
  if (tracer_.enabled() || !cheap)
    call.span = tracer_.Start(call.start, SpanKind::kServer, span_names_[static_cast<int>(method)],
                              TraceOf(*context));
  return Authenticate(call);
}

absl::Status CallGate::Authenticate(Call& call) {
  call.judgements = lasting_.judgements();
  ASSIGN_OR_RETURN(Admission admission,
                   authenticator_.Authenticate(*call.context, clock_.WallNow()));
  call.caller = std::move(admission.caller);
  call.good_until = admission.good_until;
  return absl::OkStatus();
}

absl::Status CallGate::Enter(Call& call) {
  const Rule& rule = RuleOf(call.method);
  if (call.caller->role < rule.least_role)
    return RoleNotAllowed(rule.name, rule.least_role, call.caller->role);
  if (lasting_.keeps_accounts())
    lasting_.NoteAdmitted(rule.cheap ? call.context->peer() : call.peer);
  RETURN_IF_ERROR(CheckLimits(call));
  if (!MayLast(call.method)) return absl::OkStatus();
  call.lasting = std::make_shared<LastingCall>(rule.name, rule.least_role, *call.context, call.peer,
                                               call.caller);
  if (call.method == Method::kUploadDataset) call.lasting->CountUploaded(0);
  lasting_.Add(call.lasting, call.good_until, call.judgements);
  return absl::OkStatus();
}

absl::Status CallGate::CheckLimits(Call& call) {
  if (CallerUse* use = call.caller->use.get(); use != nullptr)
    RETURN_IF_ERROR(use->TakeCall(*call.caller, call.start));
  const Share place = RuleOf(call.method).place;
  ASSIGN_OR_RETURN(call.place, Of(place).Take(SharerOf(call), 1, OwnLimit(call, place)));
  return absl::OkStatus();
}

std::optional<int64_t> CallGate::OwnLimit(const Call& call, Share share) const {
  const CallerLimits& limits = call.caller->limits;
  if (share == Share::kTransfers) return limits.transfers;
  if (share != Share::kWatches) return std::nullopt;
  return limits.watchers ? limits.watchers : options_.watches_of_one_caller;
}

Sharer& CallGate::SharerOf(const Call& call) {
  return call.caller->use != nullptr ? *call.caller->use : nobody_;
}

absl::Status CallGate::Take(Call& call, Share share, int64_t amount) {
  ASSIGN_OR_RETURN(FairShare::Slot slot,
                   Of(share).Take(SharerOf(call), amount, OwnLimit(call, share)));
  call.more.push_back(std::move(slot));
  return absl::OkStatus();
}

absl::Status CallGate::TakeForAnswer(Call& call, size_t bytes) {
  ASSIGN_OR_RETURN(call.answer,
                   Of(Share::kAnswerBytes).Take(SharerOf(call), static_cast<int64_t>(bytes)));
  return absl::OkStatus();
}

void CallGate::CountRefusal(pb::ErrorReason::Reason reason) {
  const auto found = refusals_.find(reason);
  if (found != refusals_.end()) found->second->Increment();
}

void CallGate::End(Call& call, const absl::Status& status, double messages_sent,
                   double messages_received) {
  const absl::Time now = clock_.Now();
  const absl::Duration took = now - call.start;
  MethodMetrics& metrics = methods_[static_cast<int>(call.method)];
  if (messages_received > 0) metrics.OnReceived(messages_received);
  if (messages_sent > 0) metrics.OnSent(messages_sent);
  metrics.OnHandled(status.code(), took);
  if (call.lasting) lasting_.Remove(call.lasting);
  call.place.Release();
  call.answer.Release();
  call.more.clear();
  const pb::ErrorReason::Reason reason =
      status.ok() ? pb::ErrorReason::REASON_UNSPECIFIED : ReasonAtEnd(status);
  if (!status.ok()) CountRefusal(reason);
  if (absl::IsResourceExhausted(status)) refused_calls_.fetch_add(1, std::memory_order_relaxed);
  WriteLog(call, status, reason, took);
  if (!call.span.recording()) return;
  const Rule& rule = RuleOf(call.method);
  DescribeCall(call, rule.name, rule.cheap ? call.context->peer() : call.peer, status, call.span);
  call.span.EndAt(now);
}

void CallGate::CountUnknownMethod(absl::Duration took) {
  unknown_.OnStarted();
  unknown_.OnHandled(absl::StatusCode::kUnimplemented, took);
}

void CallGate::WriteLog(const Call& call, const absl::Status& status,
                        pb::ErrorReason::Reason reason, absl::Duration took) {
  const Rule& rule = RuleOf(call.method);
  if (rule.cheap && status.ok() && took < absl::Seconds(1) &&
      cheap_calls_.fetch_add(1, std::memory_order_relaxed) % options_.log_one_in != 0)
    return;
  if (!LogEnabled(LogLevel::kInfo)) return;
  const std::string caller = call.caller ? call.caller->identity : std::string();
  // Made for those alone who need it: most calls that are refused get no line.
  const auto peer = [&] { return rule.cheap ? call.context->peer() : call.peer; };
  const bool refused = refusals_.contains(reason) || (rule.cheap && !status.ok());
  if (refused &&
      !refusal_log_.HasOwnLine(
          {.reason = reason, .caller = caller, .machine = call.caller ? "" : MachineOf(peer())}))
    return;
  // The metadata of a cheap call that is not traced has not been read yet.
  const TraceContext trace =
      call.span.context().valid() || !rule.cheap ? call.span.context() : TraceOf(*call.context);
  Log(LogLevel::kInfo, "call",
      {{"trace_id", trace.TraceId()},
       {"span_id", trace.SpanId()},
       {"grpc_method", rule.name},
       {"grpc_code", absl::StatusCodeToString(status.code())},
       {"duration_s", absl::ToDoubleSeconds(took)},
       {"peer", peer()},
       {"audit", IsWrite(call.method) || refusals_.contains(reason)},
       {"client", caller},
       {"fine_tune", call.fine_tune},
       {"reason", NameOf(reason)}});
}

}  // namespace finetune
