#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/cancellation.h"
#include "server/base/clock.h"
#include "server/base/fair_share.h"
#include "server/base/mutex.h"
#include "server/http/http_stream.h"

namespace finetune {

class Transfers;

// One dataset or one file of weights on its way between a call and an HTTP stream. This is what
// both directions share: how a transfer ends, that it ends when nothing moves, or next to nothing,
// and that one thread at a time acts on the call, which is gone soon after its Finish. Thread-safe;
// shared by the call, the stream and whatever it waits for.
class Transfer : public HttpStreamListener, public std::enable_shared_from_this<Transfer> {
 public:
  Transfer(Transfers& transfers, const TraceContext& trace, std::shared_ptr<Sharer> sharer)
      : transfers_(transfers), trace_(trace), sharer_(std::move(sharer)) {}

  // Ends it with this status unless it has ended. What was queued is dropped.
  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);

  // Whether the client can continue it elsewhere.
  virtual bool resumable() const = 0;

  // What it ended with; OK before that.
  absl::Status end() const ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  // What may be done with the call.
  enum class Step { kNone, kRead, kWrite, kAbort, kFinish };

  // What is due now, noted as done. Nothing comes after kFinish.
  virtual Step Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  virtual void Take(Step step) ABSL_LOCKS_EXCLUDED(mu_) = 0;
  // Frees what was queued.
  virtual void Drop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // Whether the transfer waits for the client.
  virtual bool AwaitsClient() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;

  // Does what is due with the call, unless another thread is doing so, which then does this, too.
  void Turn() ABSL_LOCKS_EXCLUDED(mu_);
  // Lets the stream go on if it was told to pause.
  void ResumeStream() ABSL_LOCKS_EXCLUDED(mu_);
  void StartStream(StreamRequest request) ABSL_LOCKS_EXCLUDED(mu_);
  // Begins to watch whether anything moves.
  void Watch() ABSL_LOCKS_EXCLUDED(mu_);
  // Bytes moved, or something else happened after which the time for the next ones starts again.
  void NoteBytes(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  Transfers& transfers_;
  const TraceContext trace_;              // Of the call.
  const std::shared_ptr<Sharer> sharer_;  // On whose behalf; may be null.
  // Of what it asks Segmind: it does not go on once the transfer has failed.
  const std::shared_ptr<Cancellation> cancellation_ = std::make_shared<Cancellation>();

  mutable Mutex mu_;
  // What to finish with.
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  // It ended while the client was not reading, so that its status cannot reach the client.
  bool stuck_ ABSL_GUARDED_BY(mu_) = false;
  // The stream waits for a Resume.
  bool paused_ ABSL_GUARDED_BY(mu_) = false;

 private:
  void Check() ABSL_LOCKS_EXCLUDED(mu_);
  // What it is ended with because nothing moves; OK while it moves.
  absl::Status Stalled(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  bool turning_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time last_progress_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  // The bytes that moved since then are counted, to see how fast.
  absl::Time counted_since_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  size_t counted_ ABSL_GUARDED_BY(mu_) = 0;
  std::shared_ptr<HttpStream> stream_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
