#include "server/service/requests/freshness_gate.h"

#include <utility>

#include "server/base/time_proto.h"
#include "server/service/calls/draining.h"
#include "server/service/requests/violations.h"

namespace finetune {
namespace {

// An answer that either of two events gives, whichever comes first: the read, or the end of the
// client. Thread-safe.
class PendingAnswer {
 public:
  explicit PendingAnswer(FreshnessGate::Done done) : done_(std::move(done)) {}

  // Null for the event that comes second.
  FreshnessGate::Done Take() {
    MutexLock lock(mu_);
    return std::exchange(done_, nullptr);
  }

 private:
  Mutex mu_;
  FreshnessGate::Done done_ ABSL_GUARDED_BY(mu_);
};

void AnswerLater(UnaryCall& call, FreshnessGate::Done done, absl::Status status) {
  call.Later([status = std::move(status), done = std::move(done)]() mutable {
    std::move(done)(std::move(status));
  });
}

}  // namespace

void FreshnessGate::Await(const pb::Freshness& wanted, const std::string& id, UnaryCall& call,
                          Done done) {
  absl::Time not_before = absl::InfinitePast();
  if (wanted.has_max_staleness()) {
    const absl::Duration age = FromProto(wanted.max_staleness());
    if (age < absl::ZeroDuration())
      return std::move(done)(InvalidField("freshness.max_staleness", "must not be negative"));
    not_before = call.start() - age;
  }
  const uint64_t revision = wanted.min_revision();
  if (revision <= catalog_.view()->revision())
    return AwaitRead(id, not_before, call, std::move(done));
  const uint64_t ticket = job_waits_.WaitForRevision(
      revision, call.answer_by(),
      [=, this, &call, done = std::move(done)](const VersionPtr&, bool reached) mutable {
        call.Later([=, this, &call, done = std::move(done)]() mutable {
          if (reached) return AwaitRead(id, not_before, call, std::move(done));
          std::move(done)(NotReached(revision, call.answer_by()));
        });
      });
  call.OnCancelDo([this, ticket] { job_waits_.Cancel(ticket); });
}

absl::Status FreshnessGate::NotReached(uint64_t revision, absl::Time deadline) const {
  if (clock_.Now() < deadline) return Draining();
  return absl::DeadlineExceededError(
      absl::StrCat("memory did not reach revision ", revision, " in time"));
}

void FreshnessGate::AwaitRead(const std::string& id, absl::Time not_before, UnaryCall& call,
                              Done done) {
  if ((id.empty() ? catalog_.observe_time() : catalog_.ObserveTimeOf(id)) >= not_before)
    return std::move(done)(absl::OkStatus());
  const auto pending = std::make_shared<PendingAnswer>(std::move(done));
  call.OnCancelDo([pending, &call] {
    if (Done answer = pending->Take())
      AnswerLater(call, std::move(answer), absl::CancelledError("the client is gone"));
  });
  tracker_.Refresh(id, not_before, call.answer_by(), [pending, &call](absl::Status status) mutable {
    Done answer = pending->Take();
    if (!answer) return;
    // The call's own deadline has not passed, so it is Segmind that took too long.
    if (absl::IsDeadlineExceeded(status))
      status = Error(absl::StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                     "no read of Segmind that is fresh enough ended in time")
                   .RetryAfter(absl::Seconds(1));
    AnswerLater(call, std::move(answer), std::move(status));
  });
}

}  // namespace finetune
