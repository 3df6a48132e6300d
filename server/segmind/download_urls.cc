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
    KeptUrl& entry = urls_[weights_uri];
    found = now < entry.good_until;
    if (found) {
      kept = entry.url;
    } else if (std::exchange(entry.asking, true)) {
      entry.waiting.push_back({std::move(ask), std::move(done)});
      return;
    }
  }
  if (found) return std::move(done)(std::move(kept));
  AskFor(weights_uri, {std::move(ask), std::move(done)});
}

void DownloadUrls::AskFor(const std::string& weights_uri, WaitingGet get) {
  std::move(get.ask)([self = shared_from_this(), weights_uri,
                      done = std::move(get.done)](absl::StatusOr<Secret> url) mutable {
    self->OnAnswer(weights_uri, std::move(done), std::move(url));
  });
}

void DownloadUrls::OnAnswer(const std::string& weights_uri, Done done, absl::StatusOr<Secret> url) {
  std::deque<WaitingGet> served;
  std::deque<WaitingGet> next;  // At most one.
  {
    MutexLock lock(mu_);
    KeptUrl& entry = urls_[weights_uri];
    if (url.ok()) {
      entry.url = *url;
      entry.good_until = clock_.Now() + kGoodFor;
      entry.asking = false;
      served.swap(entry.waiting);
    } else if (!entry.waiting.empty()) {
      next.push_back(std::move(entry.waiting.front()));
      entry.waiting.pop_front();
    } else {
      urls_.erase(weights_uri);
    }
  }
  for (WaitingGet& get : served) std::move(get.done)(url);
  std::move(done)(std::move(url));
  if (!next.empty()) AskFor(weights_uri, std::move(next.front()));
}

void DownloadUrls::Forget(const std::string& weights_uri) {
  MutexLock lock(mu_);
  const auto found = urls_.find(weights_uri);
  if (found == urls_.end()) return;
  found->second.good_until = absl::InfinitePast();
  found->second.url = Secret();
  if (!found->second.asking) urls_.erase(found);
}

size_t DownloadUrls::size() const {
  MutexLock lock(mu_);
  return urls_.size();
}

void DownloadUrls::DropOld(absl::Time now) {
  absl::erase_if(urls_, [now](const auto& entry) {
    return !entry.second.asking && entry.second.good_until <= now;
  });
}

}  // namespace finetune
