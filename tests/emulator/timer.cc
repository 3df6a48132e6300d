#include "tests/emulator/timer.h"

namespace finetune::emulator {

Timer::Timer() : thread_([this] { Run(); }) {}

void Timer::After(std::chrono::nanoseconds delay, std::function<void()> run) {
  {
    MutexLock lock(&mu_);
    if (!stopping_) {
      const auto at = std::chrono::steady_clock::now() + delay;
      const bool first = due_.empty() || at < due_.begin()->first;
      due_.emplace(at, std::move(run));
      if (first) changed_.notify_one();
      return;
    }
  }
  run();
}

void Timer::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Timer::Run() {
  mu_.lock();
  while (true) {
    if (due_.empty()) {
      if (stopping_) break;
      changed_.wait(mu_);
      continue;
    }
    const auto first = due_.begin();
    const auto at = first->first;
    if (!stopping_ && at > std::chrono::steady_clock::now()) {
      changed_.wait_until(mu_, at);
      continue;
    }
    std::function<void()> run = std::move(first->second);
    due_.erase(first);
    mu_.unlock();
    run();
    mu_.lock();
  }
  mu_.unlock();
}

}  // namespace finetune::emulator
