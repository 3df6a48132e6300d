#include "server/page/open_pages.h"

#include <utility>
#include <vector>

namespace finetune {
namespace {

constexpr absl::Duration kStatusInterval = absl::Seconds(1);

}  // namespace

std::shared_ptr<PageStream> OpenPages::Open(const PageSource& source, WatchSpec spec) {
  MutexLock lock(mu_);
  if (streams_.size() >= most_) return nullptr;
  auto stream = std::make_shared<PageStream>(source, shared_from_this(), std::move(spec));
  streams_[stream.get()] = stream;
  SetTimerLocked();
  return stream;
}

void OpenPages::Leave(PageStream* stream) {
  MutexLock lock(mu_);
  streams_.erase(stream);
}

size_t OpenPages::count() const {
  MutexLock lock(mu_);
  return streams_.size();
}

void OpenPages::SetTimerLocked() {
  if (std::exchange(timed_, true)) return;
  clock_.RunAfter(kStatusInterval, [weak = weak_from_this()] {
    if (const auto pages = weak.lock()) pages->OnTimer();
  });
}

void OpenPages::OnTimer() {
  std::vector<std::shared_ptr<PageStream>> streams;
  {
    MutexLock lock(mu_);
    timed_ = false;
    for (const auto& [_, weak] : streams_)
      if (auto stream = weak.lock()) streams.push_back(std::move(stream));
    if (!streams.empty()) SetTimerLocked();
  }
  for (const auto& stream : streams) stream->TellStatus();
}

}  // namespace finetune
