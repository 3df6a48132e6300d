#include "server/service/requests/freshness.h"

#include <utility>

#include "server/base/time_proto.h"
#include "server/service/calls/draining.h"
#include "server/service/requests/violations.h"

namespace finetune {

uint64_t Freshness::Await(const pb::Freshness& wanted, UnaryCall& call, Done done) {
  absl::Time not_before = absl::InfinitePast();
  if (wanted.has_max_staleness()) {
    const absl::Duration age = FromProto(wanted.max_staleness());
    if (age < absl::ZeroDuration()) {
      std::move(done)(InvalidField("freshness.max_staleness", "must not be negative"));
      return 0;
    }
    not_before = call.start() - age;
  }
  const uint64_t revision = wanted.min_revision();
  if (revision <= catalog_.view()->revision()) {
    AwaitRead(not_before, call, std::move(done));
    return 0;
  }
  return job_waits_.WaitForRevision(
      revision, call.answer_by(),
      [=, this, &call, done = std::move(done)](const VersionPtr&, bool reached) mutable {
        call.Later([=, this, &call, done = std::move(done)]() mutable {
          if (reached) return AwaitRead(not_before, call, std::move(done));
          std::move(done)(NotReached(revision, call.answer_by()));
        });
      });
}

absl::Status Freshness::NotReached(uint64_t revision, absl::Time deadline) const {
  if (clock_.Now() < deadline) return Draining();
  return absl::DeadlineExceededError(
      absl::StrCat("memory did not reach revision ", revision, " in time"));
}

void Freshness::AwaitRead(absl::Time not_before, UnaryCall& call, Done done) {
  if (catalog_.observe_time() >= not_before) return std::move(done)(absl::OkStatus());
  tracker_.Refresh(
      not_before, call.answer_by(), [&call, done = std::move(done)](absl::Status status) mutable {
        // The call's own deadline has not passed: what failed it is Segmind.
        if (absl::IsDeadlineExceeded(status))
          status = Error(absl::StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                         "no read of Segmind that is fresh enough ended in time")
                       .RetryAfter(absl::Seconds(1));
        call.Later([status = std::move(status), done = std::move(done)]() mutable {
          std::move(done)(std::move(status));
        });
      });
}

}  // namespace finetune
