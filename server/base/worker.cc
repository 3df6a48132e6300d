#include "server/base/worker.h"

#include <utility>

namespace finetune {

std::atomic<int64_t> Worker::unfinished_{0};

void Worker::Finished(int64_t tasks) {
  if (unfinished_.fetch_sub(tasks) == tasks) unfinished_.notify_all();
}

void Worker::AwaitIdleProcess() {
  for (int64_t left; (left = unfinished_.load()) != 0;) unfinished_.wait(left);
}

Worker::Worker(std::string name) : thread_(std::move(name), [this] { Run(); }) {}

Worker::~Worker() { Stop(); }

bool Worker::Post(Task task) {
  {
    MutexLock lock(mu_);
    if (stopping_) return false;
    unfinished_.fetch_add(1);
    tasks_.push_back(std::move(task));
  }
  // Not under the lock: the thread would wake only to wait for the lock.
  changed_.NotifyOne();
  return true;
}

bool Worker::RunOrPost(Task task) {
  {
    MutexLock lock(mu_);
    if (stopping_) return false;
    unfinished_.fetch_add(1);
    if (running_ || !tasks_.empty()) {
      // The thread that runs a task looks for more, and a waiting thread was woken for the first.
      tasks_.push_back(std::move(task));
      return true;
    }
    running_ = true;
  }
  std::move(task)();
  task = nullptr;
  {
    MutexLock lock(mu_);
    running_ = false;
    if (!tasks_.empty() || stopping_) changed_.NotifyAll();
  }
  Finished(1);
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
    const auto tasks = static_cast<int64_t>(batch.size());
    batch.clear();
    {
      MutexLock lock(mu_);
      running_ = false;
    }
    Finished(tasks);
  }
}

}  // namespace finetune
