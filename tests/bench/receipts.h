#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace finetune::bench {

// When the receivers of one change got it, and how the receivers fare. Thread-safe; a receipt costs
// two atomic operations, so that counting does not slow down what is counted.
class Receipts {
 public:
  // At most `most` receipts of one change.
  explicit Receipts(int most) : times_(most) {}

  // ---- Receivers ----
  void Add(int64_t now);
  // What must not be: a change twice, out of order, or one that does not concern the receiver.
  void AddWrong() { ++wrong_; }
  void AddReady() { Count(ready_); }
  void AddEnded() { Count(ended_); }
  // The size of a change on the wire; the last one counts.
  void SetBytes(size_t bytes) { bytes_.store(bytes, std::memory_order_relaxed); }

  // ---- Who makes the changes ----
  // Forgets the change before; the next one is complete with so many receipts.
  void Expect(int count);
  // Whatever is received until the next Expect is of no interest.
  void Ignore() { expected_ = kIgnored; }
  // False if it took too long, or if a receiver ended.
  bool Await();
  bool AwaitReady(int count);
  void AwaitEnded(int count);
  int ended();
  // Of the change that was awaited, in order.
  std::vector<int64_t> Sorted() const;
  int64_t wrong() const { return wrong_; }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr int kIgnored = -1;

  void Count(int& what);

  std::vector<std::atomic<int64_t>> times_;
  std::atomic<int> added_{0};
  std::atomic<int> expected_{kIgnored};
  std::atomic<int64_t> wrong_{0};
  std::atomic<size_t> bytes_{0};

  std::mutex mu_;
  std::condition_variable changed_;
  int ready_ = 0;
  int ended_ = 0;
};

}  // namespace finetune::bench
