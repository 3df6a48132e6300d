#pragma once

#include <memory>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/http/http_stream.h"
#include "server/segmind/segmind_client.h"
#include "server/service/calls/block_pool.h"
#include "server/service/transfers/transfer.h"

namespace finetune {

// The transfers under way: limits how many there are at once, and ends them in an orderly way at
// shutdown. Thread-safe. Outlives the server's calls; what it is made with outlives it.
class Transfers {
 public:
  struct Options {
    // Each holds a few MiB at most.
    int max_concurrent = 64;
    // A transfer in which nothing has moved for this long is ended.
    absl::Duration idle_timeout = absl::Seconds(60);
    // So is one in which, over that time, less than this moves.
    int64_t least_bytes_per_second = 1024;
  };

  Transfers(Options options, SegmindClient& segmind, HttpStreamer& streamer, Clock& clock,
            Metrics& metrics);

  // RESOURCE_EXHAUSTED / OVERLOADED, UNAVAILABLE / SERVER_DRAINING. Otherwise Leave must follow.
  absl::Status Enter(std::shared_ptr<Transfer> transfer) ABSL_LOCKS_EXCLUDED(mu_);
  // Also for one that never entered or has already left.
  void Leave(const std::shared_ptr<Transfer>& transfer) ABSL_LOCKS_EXCLUDED(mu_);

  // Takes no more; ends at once what clients can continue elsewhere, and the rest after `grace`.
  // Blocks until then, or until none is left.
  void Drain(absl::Duration grace) ABSL_LOCKS_EXCLUDED(mu_);

  SegmindClient& segmind() { return segmind_; }
  HttpStreamer& streamer() { return streamer_; }
  Clock& clock() { return clock_; }
  absl::Duration idle_timeout() const { return options_.idle_timeout; }
  int64_t least_bytes_per_second() const { return options_.least_bytes_per_second; }
  // For downloads; empty while nothing is under way.
  BlockPool& blocks() { return *blocks_; }
  void CountUploaded(int64_t bytes) { uploaded_.Increment(static_cast<double>(bytes)); }
  void CountDownloaded(int64_t bytes) { downloaded_.Increment(static_cast<double>(bytes)); }

 private:
  const Options options_;
  SegmindClient& segmind_;
  HttpStreamer& streamer_;
  Clock& clock_;
  const std::shared_ptr<BlockPool> blocks_;
  prometheus::Gauge& running_;
  prometheus::Counter& refused_;
  prometheus::Counter& uploaded_;
  prometheus::Counter& downloaded_;

  Mutex mu_;
  CondVar left_;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<std::shared_ptr<Transfer>> transfers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
