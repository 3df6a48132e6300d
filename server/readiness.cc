#include "server/readiness.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace finetune {
namespace {

constexpr absl::Duration kFollowInterval = absl::Milliseconds(100);
// After this time, callers are served even if an issuer cannot be reached: not all of them need it.
constexpr absl::Duration kIssuerPatience = absl::Seconds(10);

}  // namespace

Readiness::Readiness(Parts parts)
    : parts_(std::move(parts)), had_jobs_(parts_.catalog.view()->size() > 0) {}

absl::Status Readiness::status() const {
  if (draining_) return absl::UnavailableError("draining");
  if (!had_jobs_ && parts_.catalog.observe_time() == absl::InfinitePast())
    return absl::UnavailableError(
        absl::StrCat("the record is empty and Segmind has not been read yet (",
                     parts_.upstream_state(), "); the log says why"));
  const bool patient = parts_.clock.Now() < parts_.started + kIssuerPatience;
  if (patient && parts_.has_all_keys && !parts_.has_all_keys())
    return absl::UnavailableError("waiting for the keys of the policy's JWT issuers");
  return absl::OkStatus();
}

void Readiness::Follow(std::function<void()> ready) {
  {
    MutexLock lock(mu_);
    ready_ = std::move(ready);
  }
  Look();
}

void Readiness::Look() {
  const bool is_ready = status().ok();
  std::function<void()> ready;
  {
    MutexLock lock(mu_);
    if (!following_) return;
    if (!is_ready) {
      timer_ = parts_.clock.RunAfter(kFollowInterval, [this] { Look(); });
      return;
    }
    // Its timer stays in timer_, so that Stop waits for what follows.
    ready = std::exchange(ready_, nullptr);
  }
  ready();
  Log(LogLevel::kInfo, "ready", {{"fine_tunes", parts_.catalog.view()->size()}});
}

void Readiness::Stop() {
  Clock::TimerId timer = Clock::kNoTimer;
  {
    MutexLock lock(mu_);
    following_ = false;
    timer = timer_;
  }
  parts_.clock.Cancel(timer);
}

}  // namespace finetune
