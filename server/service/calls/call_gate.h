#pragma once

#include <grpcpp/server_context.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/access/authenticator.h"
#include "server/access/caller_use.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/fair_share.h"
#include "server/base/metrics.h"
#include "server/base/trace.h"
#include "server/service/calls/call_metrics.h"
#include "server/service/calls/lasting_calls.h"
#include "server/service/calls/refusal_log.h"
#include "server/service/calls/untaken_answers.h"

namespace finetune {

// The methods of FineTuneService, by their index in the descriptor.
enum class Method {
  kCreateFineTune,
  kGetFineTune,
  kListFineTunes,
  kWatchFineTunes,
  kWaitFineTune,
  kUpdateFineTune,
  kCreateUploadUrl,
  kUploadDataset,
  kDownloadWeights,
  kGetGatewayStatus,
  kGetSpending,
};
inline constexpr int kMethods = 11;

// One call between Admit and End.
struct Call {
  Method method;
  grpc::ServerContextBase* context = nullptr;  // gRPC's; lives until the call's OnDone.
  std::shared_ptr<const Caller> caller;        // Null if it was refused.
  absl::Time start;
  // The client's, or the method's default; calls that may last have no default.
  absl::Time deadline;
  // The span of the whole call. Without a tracer, cheap calls have none and others have the
  // client's.
  Span span;
  // What it holds of the shared resources until End: its own place, its answer, and anything else
  // it took.
  FairShare::Slot place;
  FairShare::Slot answer;
  std::vector<FairShare::Slot> more;
  // Until when its credential is good, and the judgement that this rests on (LastingCalls).
  absl::Time good_until = absl::InfiniteFuture();
  uint64_t judgements = 0;
  // Set for streams and waits that were admitted; null for all other calls.
  std::shared_ptr<LastingCall> lasting;
  // For the log: the job that it is about and, for calls that are always logged, who is at the
  // other end, which is no longer known once the connection is gone.
  std::string fine_tune;
  std::string peer;

  // When to answer so that the answer is there before the deadline.
  absl::Time answer_by() const;
};

// The gate that every call of every method passes: the call is counted, authenticated, held to its
// caller's role, limits and share of what all callers share, given a deadline, traced, and logged
// (a sample of the cheap ones; all that change something or are refused as audit lines, which are
// summed up if there are many). Ends streams and waits whose caller may no longer make them.
// Thread-safe; outlives the server's calls.
class CallGate {
 public:
  struct Options {
    // What all callers share. Waits, watches and transfers last, so that none of them takes the
    // place of a short call.
    FairShare::Limits calls = FairShare::Limits::Of(10'000, 2);
    FairShare::Limits waits = FairShare::Limits::Of(10'000, 2);
    FairShare::Limits watches = FairShare::Limits::Of(20'000);
    FairShare::Limits transfers = FairShare::Limits::Of(64);
    FairShare::Limits answer_bytes = FairShare::Limits::Of(int64_t{128} << 20, 2);
    // In units of a thousand comparisons: some seconds' work.
    FairShare::Limits scans = FairShare::Limits::Of(200'000, 2);
    FairShare::Limits checks = FairShare::Limits::Of(16, 2);
    // With this much watched, a change takes a millisecond or two.
    FairShare::Limits watch_terms = FairShare::Limits::Of(100'000);
    // Unless the policy says otherwise.
    std::optional<int64_t> watches_of_one_caller;
    // One in this many cheap calls that succeeded is logged.
    uint32_t log_one_in = 100;
  };

  CallGate(Options options, Authenticator& authenticator, Clock& clock, Metrics& metrics,
           Tracer& tracer);

  // Begins `call`; End must follow, whatever this returns. UNAUTHENTICATED, PERMISSION_DENIED,
  // RESOURCE_EXHAUSTED / OVERLOADED or CLIENT_QUOTA_EXCEEDED, UNAVAILABLE /
  // ISSUER_KEYS_UNAVAILABLE.
  absl::Status Admit(Method method, grpc::ServerContextBase* context, Call& call);
  // The same in two steps, between which the call may wait: Begin finds out whose it is, the other
  // whether it may be made.
  absl::Status Begin(Method method, grpc::ServerContextBase* context, Call& call);
  absl::Status Enter(Call& call);
  void End(Call& call, const absl::Status& status, double messages_sent,
           double messages_received = 1);

  // More of what callers share, for an admitted call until it ends. RESOURCE_EXHAUSTED /
  // OVERLOADED or CLIENT_QUOTA_EXCEEDED.
  absl::Status Take(Call& call, Share share, int64_t amount = 1);
  // Room for an answer of that size, likewise.
  absl::Status TakeForAnswer(Call& call, size_t bytes);
  UntakenAnswers& untaken_answers() { return untaken_answers_; }

  // The policy has changed: judges again the callers of the streams and waits under way.
  void JudgeLastingCalls() { lasting_.JudgeAll(); }
  LastingCalls& lasting_calls() { return lasting_; }

  // For a method that no service has.
  void CountUnknownMethod(absl::Duration took);

  // How many calls were refused so far because of what their callers took, or all together.
  int64_t refused_calls() const { return refused_calls_.load(std::memory_order_relaxed); }

  // Unary calls under way.
  int64_t unary_calls() const { return Of(Share::kCalls).used() + Of(Share::kWaits).used(); }

 private:
  absl::Status Authenticate(Call& call);
  absl::Status CheckLimits(Call& call);
  // The policy's limit on what callers share, for the caller of `call`.
  std::optional<int64_t> OwnLimit(const Call& call, Share share) const;
  Sharer& SharerOf(const Call& call);
  FairShare& Of(Share share) { return *shares_[static_cast<size_t>(share)]; }
  const FairShare& Of(Share share) const { return *shares_[static_cast<size_t>(share)]; }
  void CountRefusal(pb::ErrorReason::Reason reason);
  void WriteLog(const Call& call, const absl::Status& status, pb::ErrorReason::Reason reason,
                absl::Duration took);

  // Constant after construction.
  const Options options_;
  Authenticator& authenticator_;
  Clock& clock_;
  Tracer& tracer_;
  std::vector<MethodMetrics> methods_;
  std::vector<std::string> span_names_;  // By method, like methods_.
  MethodMetrics unknown_;
  // By reason.
  std::map<pb::ErrorReason::Reason, prometheus::Counter*> refusals_;

  std::array<std::unique_ptr<FairShare>, kShares> shares_;

  Sharer nobody_{"", "other"};  // For callers that are not told apart.
  LastingCalls lasting_;
  UntakenAnswers untaken_answers_;
  RefusalLog refusal_log_;
  std::atomic<uint32_t> cheap_calls_ = 0;
  std::atomic<int64_t> refused_calls_ = 0;
};

}  // namespace finetune
