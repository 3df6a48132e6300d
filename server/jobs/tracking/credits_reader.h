#pragma once

#include <functional>
#include <memory>

#include "server/base/clock.h"
#include "server/base/worker.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// Asks Segmind now and then what the account has left. The answer is in SegmindClient::credits().
// Part of the SegmindReader, which outlives it; tracker thread only.
class CreditsReader {
 public:
  // `interval`: between two reads; zero: never. Answers come back through `worker`, whose tasks are
  // the tracker's thread; `on_told` is called there when there is something new to tell.
  CreditsReader(SegmindClient& segmind, Clock& clock, absl::Duration interval,
                std::shared_ptr<Worker> worker, std::function<void()> on_told);

  // From now on; before, what is more urgent is read.
  void Begin(absl::Time now);
  // Starts no further call, and takes no answer.
  void Stop() { stopped_ = true; }

  absl::Time NextStart() const { return next_; }
  void Start(absl::Time now);

 private:
  void OnAnswer(const absl::Status& status);

  // Constant after construction.
  SegmindClient& segmind_;
  Clock& clock_;
  const absl::Duration interval_;
  const std::shared_ptr<Worker> worker_;
  const std::function<void()> on_told_;

  bool stopped_ = false;
  bool begun_ = false;
  absl::Time next_ = absl::InfiniteFuture();
};

}  // namespace finetune
