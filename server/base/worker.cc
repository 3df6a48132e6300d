#include "server/base/worker.h"

#include <utility>

namespace finetune {

Worker::Worker(std::string name) : thread_(std::move(name), [this] { Run(); }) {}

Worker::~Worker() { Stop(); }

bool Worker::Post(Task task) {
  {
    MutexLock lock(mu_);
    if (stopping_) return false;
    tasks_.push_back(std::move(task));
  }
  // Not under the lock: the thread would wake only to wait for it.
  changed_.NotifyOne();
  return true;
}

bool Worker::RunOrPost(Task task) {
  {
    MutexLock lock(mu_);
    if (stopping_) return false;
    if (running_ || !tasks_.empty()) {
      // Whoever runs a task looks for more, and who waits was woken for the first.
      tasks_.push_back(std::move(task));
      return true;
    }
    running_ = true;
  }
  std::move(task)();
  task = nullptr;
  MutexLock lock(mu_);
  running_ = false;
  if (!tasks_.empty() || stopping_) changed_.NotifyAll();
  return true;
}

void Worker::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.Join();
}

void Worker::Run() {
  std::deque<Task> batch;
  while (true) {
    {
      MutexLock lock(mu_);
      while (running_ || (tasks_.empty() && !stopping_)) changed_.Wait(mu_);
      if (tasks_.empty()) return;
      batch.swap(tasks_);
      running_ = true;
    }
    for (Task& task : batch) std::move(task)();
    batch.clear();
    MutexLock lock(mu_);
    running_ = false;
  }
}

}  // namespace finetune
