#include "server/service/calls/scan_queue.h"

#include <algorithm>

namespace finetune {

ScanQueue::ScanQueue(std::string name) : thread_(std::move(name), [this] { Run(); }) {}

uint64_t ScanQueue::Post(const Sharer* sharer, Scan scan) {
  uint64_t number;
  {
    MutexLock lock(mu_);
    if (stopping_) return 0;
    number = ++last_;
    Scans& queue = scans_[sharer];
    if (queue.empty()) turns_.push_back(sharer);
    queue.emplace_back(number, std::move(scan));
    sharers_.emplace(number, sharer);
  }
  changed_.NotifyOne();
  return number;
}

bool ScanQueue::Drop(uint64_t number) {
  Scan dropped;  // After the lock.
  MutexLock lock(mu_);
  const auto found = sharers_.find(number);
  if (found == sharers_.end()) return false;
  const Sharer* const sharer = found->second;
  sharers_.erase(found);
  Scans& queue = scans_.find(sharer)->second;
  const auto scan =
      std::lower_bound(queue.begin(), queue.end(), number,
                       [](const auto& one, uint64_t wanted) { return one.first < wanted; });
  dropped = std::move(scan->second);
  queue.erase(scan);
  if (!queue.empty()) return true;
  scans_.erase(sharer);
  turns_.erase(std::find(turns_.begin(), turns_.end(), sharer));
  return true;
}

ScanQueue::Scan ScanQueue::TakeNext() {
  const Sharer* const sharer = turns_.front();
  turns_.pop_front();
  const auto queue = scans_.find(sharer);
  sharers_.erase(queue->second.front().first);
  Scan scan = std::move(queue->second.front().second);
  queue->second.pop_front();
  if (queue->second.empty())
    scans_.erase(queue);
  else
    turns_.push_back(sharer);
  return scan;
}

void ScanQueue::Run() {
  while (true) {
    Scan scan;
    {
      MutexLock lock(mu_);
      while (turns_.empty() && !stopping_) changed_.Wait(mu_);
      if (turns_.empty()) return;
      scan = TakeNext();
    }
    std::move(scan)();
  }
}

void ScanQueue::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.Join();
}

}  // namespace finetune
