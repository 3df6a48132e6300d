#include "server/base/turn_queue.h"

#include <algorithm>

namespace finetune {

TurnQueue::TurnQueue(std::string name) : thread_(std::move(name), [this] { Run(); }) {}

uint64_t TurnQueue::Post(const Sharer* sharer, Task task) {
  uint64_t number;
  {
    MutexLock lock(mu_);
    if (stopping_) return 0;
    number = ++last_;
    Tasks& queue = tasks_[sharer];
    if (queue.empty()) turns_.push_back(sharer);
    queue.emplace_back(number, std::move(task));
    sharers_.emplace(number, sharer);
  }
  changed_.NotifyOne();
  return number;
}

bool TurnQueue::Drop(uint64_t number) {
  Task dropped;  // After the lock.
  MutexLock lock(mu_);
  const auto found = sharers_.find(number);
  if (found == sharers_.end()) return false;
  const Sharer* const sharer = found->second;
  sharers_.erase(found);
  Tasks& queue = tasks_.find(sharer)->second;
  const auto task =
      std::lower_bound(queue.begin(), queue.end(), number,
                       [](const auto& one, uint64_t wanted) { return one.first < wanted; });
  dropped = std::move(task->second);
  queue.erase(task);
  if (!queue.empty()) return true;
  tasks_.erase(sharer);
  turns_.erase(std::find(turns_.begin(), turns_.end(), sharer));
  return true;
}

TurnQueue::Task TurnQueue::TakeNext() {
  const Sharer* const sharer = turns_.front();
  turns_.pop_front();
  const auto queue = tasks_.find(sharer);
  sharers_.erase(queue->second.front().first);
  Task task = std::move(queue->second.front().second);
  queue->second.pop_front();
  if (queue->second.empty())
    tasks_.erase(queue);
  else
    turns_.push_back(sharer);
  return task;
}

void TurnQueue::Run() {
  while (true) {
    Task task;
    {
      MutexLock lock(mu_);
      while (turns_.empty() && !stopping_) changed_.Wait(mu_);
      if (turns_.empty()) return;
      task = TakeNext();
    }
    std::move(task)();
  }
}

void TurnQueue::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.Join();
}

}  // namespace finetune
