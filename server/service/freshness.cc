#include "server/service/freshness.h"

#include <utility>

#include "server/base/time_proto.h"
#include "server/service/violations.h"

namespace finetune {

void Freshness::Await(const pb::Freshness& wanted, absl::Time start, absl::Time deadline,
                      absl::AnyInvocable<void(absl::Status) &&> done) {
  absl::Time not_before = absl::InfinitePast();
  if (wanted.has_max_staleness()) {
    const absl::Duration age = FromProto(wanted.max_staleness());
    if (age < absl::ZeroDuration())
      return std::move(done)(InvalidField("freshness.max_staleness", "must not be negative"));
    not_before = start - age;
  }
  if (wanted.min_revision() <= catalog_.view()->revision())
    return AwaitRead(not_before, deadline, std::move(done));
  const uint64_t revision = wanted.min_revision();
  waiters_.WaitForRevision(
      revision, deadline,
      [this, not_before, deadline, revision, done = std::move(done)](VersionPtr, bool met) mutable {
        if (met) return AwaitRead(not_before, deadline, std::move(done));
        std::move(done)(absl::DeadlineExceededError(
            absl::StrCat("memory did not reach revision ", revision, " in time")));
      });
}

void Freshness::AwaitRead(absl::Time not_before, absl::Time deadline,
                          absl::AnyInvocable<void(absl::Status) &&> done) {
  if (catalog_.observe_time() >= not_before) return std::move(done)(absl::OkStatus());
  tracker_.Refresh(not_before, deadline, [done = std::move(done)](absl::Status status) mutable {
    // The call's own deadline has not passed: what failed it is Segmind.
    if (absl::IsDeadlineExceeded(status))
      status = Error(absl::StatusCode::kUnavailable, pb::UPSTREAM_UNAVAILABLE,
                     "no read of Segmind that is fresh enough ended in time")
                   .RetryAfter(absl::Seconds(1));
    std::move(done)(std::move(status));
  });
}

}  // namespace finetune
