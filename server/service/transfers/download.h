#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/sha256.h"
#include "server/jobs/record/version.h"
#include "server/service/calls/block_pool.h"
#include "server/service/transfers/transfer.h"
#include "server/service/transfers/weights_answer.h"

namespace finetune {

// A checked DownloadWeightsRequest.
struct DownloadSpec {
  std::string weights_uri;
  // The job's name at Segmind; empty while it is unknown.
  std::string upstream_id;
  // Whether anyone may read that URL; otherwise a signed one is asked for.
  bool open = false;
  int64_t offset = 0;
  int64_t limit = 0;       // 0: all.
  std::string generation;  // Of the file that is continued; empty: any.
  bool skip_sha256 = false;
  TraceContext trace;
  std::shared_ptr<Sharer> sharer;
};

// What `request` asks of that job. FAILED_PRECONDITION / WEIGHTS_NOT_READY if there are no weights
// yet, INVALID_ARGUMENT / INVALID_FIELD.
absl::StatusOr<DownloadSpec> CheckDownload(const pb::DownloadWeightsRequest& request,
                                           const FineTuneVersion& version);

// The call that a download belongs to, as the download sees it. The download calls one method at a
// time; OnWritten follows a Write. Outlives the download until End.
class DownloadReceiver {
 public:
  virtual ~DownloadReceiver() = default;

  virtual void Write(const grpc::ByteBuffer& message) = 0;
  // Ends a Write that the client does not read.
  virtual void Abort() = 0;
  // The last one: the receiver may be gone before it returns.
  virtual void End(const absl::Status& status) = 0;
};

// Weights on their way from storage to a call. Finds out where they can be read: at their URL if
// that is public, at one that Segmind signs, or at the one in the job's details. What arrives is
// checked before the first byte is passed on, so that no page or storage error is taken for
// weights. Thread-safe, as Transfer is.
class Download final : public Transfer {
 public:
  Download(Transfers& transfers, DownloadSpec spec, DownloadReceiver& receiver);

  void Begin();
  // The receiver wrote a message, or could not.
  void OnWritten(bool ok) ABSL_LOCKS_EXCLUDED(mu_);

  bool resumable() const override { return true; }
  double messages() const ABSL_LOCKS_EXCLUDED(mu_);

  // HttpStreamListener.
  void OnHead(const HttpResponse& head) override;
  bool OnData(std::string_view bytes) override;
  void OnDry() override;
  size_t OnSend(char*, size_t) override { return 0; }
  void OnEnd(absl::Status status) override;

 private:
  enum class Way { kOpen, kSigned, kDetails };

  // What a message is made of.
  struct Piece {
    std::string head;              // Its fields but the bytes and their CRC.
    std::unique_ptr<Block> block;  // Null if there are no bytes.
  };

  Step Next() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Take(Step step) override;
  void Drop() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { queue_.clear(), filling_.reset(); }
  bool AwaitsClient() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return writing_; }

  void FetchBy(Way way) ABSL_LOCKS_EXCLUDED(mu_);
  void AskForSignedUrl();
  void AskForDetails();
  void Fetch(Secret url);
  // Tries the next way after `refusal`, or ends with it if there is no other.
  void TryNextWay(absl::Status refusal) ABSL_LOCKS_EXCLUDED(mu_);
  void Pass(std::string_view bytes) ABSL_LOCKS_EXCLUDED(mu_);
  void Gather(std::string_view bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  grpc::ByteBuffer MakeMessage();
  absl::Status EndOf(const absl::Status& status) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  DownloadReceiver& receiver_;  // Only in Take.
  const DownloadSpec spec_;
  const WeightsRange range_;

  // Streamer's thread only, between a head and its end.
  std::string start_;    // The file's first bytes, as long as they are gathered to be looked at.
  int64_t telling_ = 0;  // How many of them are still to come.
  int64_t to_skip_ = 0;
  int64_t to_come_ = 0;
  bool with_digest_ = false;  // All of the file is wanted, and its digest.
  Sha256 sha256_;
  std::string error_body_;

  // Guarded by mu_.
  Way way_ ABSL_GUARDED_BY(mu_) = Way::kOpen;
  // What to end with if the details do not help.
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);
  int code_ ABSL_GUARDED_BY(mu_) = 0;
  absl::StatusOr<WeightsAnswer> answer_ ABSL_GUARDED_BY(mu_) = absl::UnknownError("none yet");
  // Each makes a message.
  std::deque<std::unique_ptr<Block>> queue_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Block> filling_ ABSL_GUARDED_BY(mu_);
  // The bytes need not wait for their block to be full.
  bool dry_ ABSL_GUARDED_BY(mu_) = false;
  // Set when the source is done: what to end with once the queue is sent.
  std::optional<absl::Status> source_end_ ABSL_GUARDED_BY(mu_);
  std::string digest_ ABSL_GUARDED_BY(mu_);  // Of the whole file; empty if it is not all sent.
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  size_t writing_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
  int64_t next_offset_ ABSL_GUARDED_BY(mu_);
  int64_t messages_ ABSL_GUARDED_BY(mu_) = 0;

  // Of who takes the steps: one thread at a time.
  Piece piece_;
};

}  // namespace finetune
