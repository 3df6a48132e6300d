#include "server/segmind/download_urls.h"

#include <utility>

namespace finetune {
namespace {

constexpr absl::Duration kGoodFor = absl::Minutes(1);

}  // namespace

void DownloadUrls::Get(const std::string& weights_uri, Ask ask, Done done) {
  const absl::Time now = clock_.Now();
  Secret kept;
  bool found = false;
  {
    MutexLock lock(mu_);
    DropOld(now);
    Entry& entry = entries_[weights_uri];
    found = now < entry.good_until;
    if (found) {
      kept = entry.url;
    } else if (std::exchange(entry.asking, true)) {
      entry.waiters.push_back({std::move(ask), std::move(done)});
      return;
    }
  }
  if (found) return std::move(done)(std::move(kept));
  AskFor(weights_uri, {std::move(ask), std::move(done)});
}

void DownloadUrls::AskFor(const std::string& weights_uri, Waiter waiter) {
  std::move(waiter.ask)([self = shared_from_this(), weights_uri,
                         done = std::move(waiter.done)](absl::StatusOr<Secret> url) mutable {
    self->OnAnswer(weights_uri, std::move(done), std::move(url));
  });
}

void DownloadUrls::OnAnswer(const std::string& weights_uri, Done done, absl::StatusOr<Secret> url) {
  std::deque<Waiter> served;
  std::deque<Waiter> next;  // At most one.
  {
    MutexLock lock(mu_);
    Entry& entry = entries_[weights_uri];
    if (url.ok()) {
      entry.url = *url;
      entry.good_until = clock_.Now() + kGoodFor;
      entry.asking = false;
      served.swap(entry.waiters);
    } else if (!entry.waiters.empty()) {
      next.push_back(std::move(entry.waiters.front()));
      entry.waiters.pop_front();
    } else {
      entries_.erase(weights_uri);
    }
  }
  for (Waiter& waiter : served) std::move(waiter.done)(url);
  std::move(done)(std::move(url));
  if (!next.empty()) AskFor(weights_uri, std::move(next.front()));
}

void DownloadUrls::Forget(const std::string& weights_uri) {
  MutexLock lock(mu_);
  const auto found = entries_.find(weights_uri);
  if (found == entries_.end()) return;
  found->second.good_until = absl::InfinitePast();
  found->second.url = Secret();
  if (!found->second.asking) entries_.erase(found);
}

size_t DownloadUrls::size() const {
  MutexLock lock(mu_);
  return entries_.size();
}

void DownloadUrls::DropOld(absl::Time now) {
  absl::erase_if(entries_, [now](const auto& entry) {
    return !entry.second.asking && entry.second.good_until <= now;
  });
}

}  // namespace finetune
