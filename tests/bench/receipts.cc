#include "tests/bench/receipts.h"

#include <algorithm>
#include <chrono>

namespace finetune::bench {
namespace {

constexpr std::chrono::seconds kPatience{120};

}  // namespace

void Receipts::Add(int64_t now) {
  const int expected = expected_.load(std::memory_order_relaxed);
  if (expected == kIgnored) return;
  const int at = added_.fetch_add(1, std::memory_order_acq_rel);
  if (at >= expected) {
    ++wrong_;
    return;
  }
  times_[at].store(now, std::memory_order_release);
  if (at + 1 < expected) return;
  std::lock_guard lock(mu_);
  changed_.notify_all();
}

void Receipts::Count(int& what) {
  std::lock_guard lock(mu_);
  ++what;
  changed_.notify_all();
}

void Receipts::Expect(int count) {
  std::lock_guard lock(mu_);
  expected_ = count;
  for (std::atomic<int64_t>& time : times_) time = 0;
  added_ = 0;
}

bool Receipts::Await() {
  const auto complete = [this] {
    // The last one to be counted need not be the last one to be written down.
    return added_ >= expected_ &&
           std::all_of(times_.begin(), times_.begin() + expected_,
                       [](const std::atomic<int64_t>& time) { return time != 0; });
  };
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(mu_);
  while (!complete()) {
    if (ended_ > 0 || std::chrono::steady_clock::now() >= end) return false;
    changed_.wait_for(
        lock, added_ >= expected_ ? std::chrono::milliseconds(1) : std::chrono::milliseconds(500));
  }
  return true;
}

bool Receipts::AwaitReady(int count) {
  std::unique_lock lock(mu_);
  return changed_.wait_for(lock, kPatience, [&] { return ready_ >= count || ended_ > 0; }) &&
         ended_ == 0;
}

void Receipts::AwaitEnded(int count) {
  std::unique_lock lock(mu_);
  changed_.wait_for(lock, kPatience, [&] { return ended_ >= count; });
}

int Receipts::ended() {
  std::lock_guard lock(mu_);
  return ended_;
}

std::vector<int64_t> Receipts::Sorted() const {
  std::vector<int64_t> sorted(times_.begin(), times_.begin() + expected_);
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace finetune::bench
