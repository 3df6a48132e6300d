#include "server/access/remote_keys.h"

#include <utility>

#include "server/access/key_set.h"
#include "server/base/log.h"

namespace finetune {
namespace {

constexpr absl::Duration kRefresh = absl::Minutes(10);
constexpr absl::Duration kFirstRetry = absl::Seconds(1);
constexpr absl::Duration kLastRetry = absl::Minutes(1);
// Tokens that name random keys must not make us fetch more often than this.
constexpr absl::Duration kLeastBetween = absl::Seconds(10);

}  // namespace

RemoteKeys::RemoteKeys(const KeyLocation& location, FetchKeys fetch, Clock& clock,
                       KeyFetchMetrics metrics, Post post, std::function<void()> on_change)
    : location_(location),
      fetch_(std::move(fetch)),
      clock_(clock),
      metrics_(metrics),
      post_(std::move(post)),
      on_change_(std::move(on_change)),
      backoff_(kFirstRetry, kLastRetry) {}

std::shared_ptr<RemoteKeys> RemoteKeys::Start(const KeyLocation& location, FetchKeys fetch,
                                              Clock& clock, KeyFetchMetrics metrics, Post post,
                                              std::function<void()> on_change) {
  std::shared_ptr<RemoteKeys> made(new RemoteKeys(location, std::move(fetch), clock, metrics,
                                                  std::move(post), std::move(on_change)));
  made->Begin();
  return made;
}

std::optional<std::string> RemoteKeys::text() const {
  MutexLock lock(mu_);
  return text_;
}

void RemoteKeys::Begin() {
  {
    MutexLock lock(mu_);
    if (stopped_ || fetching_) return;
    fetching_ = true;
    begun_ = clock_.Now();
  }
  post_([self = shared_from_this()] {
    self->fetch_([self](absl::StatusOr<std::string> text) { self->OnFetched(std::move(text)); });
  });
}

bool RemoteKeys::LookAgain() {
  {
    MutexLock lock(mu_);
    if (stopped_) return false;
    if (fetching_) return true;
    if (clock_.Now() - begun_ < kLeastBetween) return false;
  }
  Begin();
  return true;
}

void RemoteKeys::OnFetched(absl::StatusOr<std::string> text) {
  if (text.ok()) {
    auto keys = KeySet::Parse(*text);
    if (!keys.ok()) text = keys.status();
  }
  bool changed = false;
  Clock::TimerId old_timer = Clock::kNoTimer;
  {
    MutexLock lock(mu_);
    fetching_ = false;
    if (stopped_) return;
    NoteOutcomeLocked(text.ok());
    changed = text.ok() && text_ != *text;
    if (changed) text_ = *text;
    if (text.ok()) backoff_.Reset();
    const absl::Duration wait = text.ok() ? kRefresh : backoff_.Next();
    old_timer = std::exchange(timer_, clock_.RunAfter(wait, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Begin();
    }));
  }
  clock_.Cancel(old_timer);
  if (!text.ok())
    Log(LogLevel::kWarning, "an issuer's keys could not be fetched, those from before stay",
        {{"url", location_.url}, {"error", std::string(text.status().message())}});
  if (changed) post_(on_change_);
}

void RemoteKeys::NoteOutcomeLocked(bool good) {
  (good ? metrics_.fetched : metrics_.failed).Increment();
  if (failing_ == !good) return;
  failing_ = !good;
  metrics_.failing.Increment(failing_ ? 1 : -1);
}

void RemoteKeys::Stop() {
  Clock::TimerId timer = Clock::kNoTimer;
  {
    MutexLock lock(mu_);
    if (std::exchange(stopped_, true)) return;
    if (failing_) metrics_.failing.Decrement();
    timer = timer_;
  }
  clock_.Cancel(timer);
}

}  // namespace finetune
