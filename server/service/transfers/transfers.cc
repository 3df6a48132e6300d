#include "server/service/transfers/transfers.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/service/calls/draining.h"

namespace finetune {
namespace {

// 8 MiB: about what a few fast downloads have in flight.
constexpr size_t kMostUnusedBlocks = 8;

}  // namespace

Transfers::Transfers(Options options, SegmindClient& segmind, HttpStreamer& streamer, Clock& clock,
                     Metrics& metrics)
    : options_(options),
      segmind_(segmind),
      streamer_(streamer),
      clock_(clock),
      blocks_(std::make_shared<BlockPool>(kMostUnusedBlocks)),
      running_(metrics.Gauge("finetune_gateway_transfers", "Transfers under way.")),
      refused_(metrics.Counter("finetune_gateway_transfers_refused_total",
                               "Transfers refused because there were too many.")),
      uploaded_(metrics.Counter("finetune_gateway_transfer_bytes_total",
                                "Bytes moved between clients and Segmind's storage.",
                                {{"direction", "upload"}})),
      downloaded_(metrics.Counter("finetune_gateway_transfer_bytes_total",
                                  "Bytes moved between clients and Segmind's storage.",
                                  {{"direction", "download"}})) {}

absl::Status Transfers::Enter(std::shared_ptr<Transfer> transfer) {
  {
    MutexLock lock(mu_);
    if (draining_) return Draining();
    if (transfers_.size() < static_cast<size_t>(options_.max_concurrent)) {
      transfers_.insert(std::move(transfer));
      running_.Increment();
      return absl::OkStatus();
    }
  }
  refused_.Increment();
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::OVERLOADED,
               "too many transfers at once; try again later")
      .RetryAfter(absl::Seconds(2));
}

void Transfers::Leave(const std::shared_ptr<Transfer>& transfer) {
  bool last;
  {
    MutexLock lock(mu_);
    if (transfers_.erase(transfer) == 0) return;
    running_.Decrement();
    left_.NotifyAll();
    last = transfers_.empty();
  }
  if (last) blocks_->Trim();
}

void Transfers::Drain(absl::Duration grace) {
  const auto end_those = [this](bool all) {
    std::vector<std::shared_ptr<Transfer>> those;
    {
      MutexLock lock(mu_);
      draining_ = true;
      std::copy_if(transfers_.begin(), transfers_.end(), std::back_inserter(those),
                   [&](const auto& transfer) { return all || transfer->resumable(); });
    }
    for (const auto& transfer : those) transfer->Fail(Draining());
  };
  end_those(/*all=*/false);
  const absl::Time deadline = SteadyNow() + grace;
  {
    MutexLock lock(mu_);
    while (!transfers_.empty() && left_.WaitFor(mu_, deadline - SteadyNow())) continue;
  }
  end_those(/*all=*/true);
}

}  // namespace finetune
