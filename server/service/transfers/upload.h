#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/error.h"
#include "server/base/sha256.h"
#include "server/dataset/dataset_inspector.h"
#include "server/segmind/segmind_client.h"
#include "server/service/transfers/transfer.h"

namespace finetune {

// The call that an upload belongs to, as the upload sees it. The upload calls one method at a time;
// OnMessage or OnHalfClose follows a Read. Outlives the upload until End.
class UploadReceiver {
 public:
  virtual ~UploadReceiver() = default;

  virtual void Read() = 0;
  // The last one: the receiver may be gone before it returns.
  virtual void End(const absl::Status& status) = 0;
};

// A dataset on its way from a call to Segmind's storage, which gets the last byte only when size,
// digest and content are known to be right. Thread-safe, as Transfer is, except for OnMessage and
// OnHalfClose, which come one at a time.
class Upload final : public Transfer {
 public:
  Upload(Transfers& transfers, const TraceContext& trace, std::shared_ptr<Sharer> sharer,
         UploadReceiver& receiver)
      : Transfer(transfers, trace, std::move(sharer)), receiver_(receiver) {}

  void Begin();
  void OnMessage(const grpc::ByteBuffer& message);
  void OnHalfClose();

  bool resumable() const override { return false; }
  // Once it ended well.
  pb::Dataset dataset() const ABSL_LOCKS_EXCLUDED(mu_);

  // HttpStreamListener.
  void OnHead(const HttpResponse& head) override;
  bool OnData(std::string_view bytes) override;
  size_t OnSend(char* to, size_t room) override;
  void OnEnd(absl::Status status) override;

 private:
  // What is sent: the pieces as gRPC brought them. Those already sent are kept as long as they
  // are few, so that they can be sent again to another URL.
  class Pieces {
   public:
    void Add(grpc::Slice piece);
    size_t Copy(char* to, size_t room);
    size_t waiting() const { return waiting_; }
    int64_t sent() const { return sent_; }
    // False if too much is gone.
    bool Rewind();
    void Clear();

   private:
    std::deque<grpc::Slice> pieces_;
    size_t next_ = 0;       // The first that is not sent whole.
    size_t next_sent_ = 0;  // Of that one.
    size_t waiting_ = 0;
    int64_t sent_ = 0;
    bool complete_ = true;  // All that was sent is here.
  };

  Step Next() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Take(Step step) override;
  void Drop() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { pieces_.Clear(); }
  bool AwaitsClient() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return reading_ && pieces_.waiting() <= 1;
  }

  absl::Status TakeSpec(const pb::DatasetSpec& spec);
  absl::Status TakeChunk(std::vector<grpc::Slice> pieces) ABSL_LOCKS_EXCLUDED(mu_);
  void GoOn(size_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Verify() ABSL_LOCKS_EXCLUDED(mu_);
  void AskForUrl();
  void OnUrl(absl::StatusOr<UploadUrlAnswer> made) ABSL_LOCKS_EXCLUDED(mu_);
  // Starts again, with another URL, what storage has refused; false if it cannot.
  bool BeginsAnew() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status EndOf(const absl::Status& status) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  UploadReceiver& receiver_;  // Only in Take.

  // The reader's alone; once the spec is there it does not change.
  std::optional<pb::DatasetSpec> spec_;
  std::optional<DatasetInspector> inspector_;
  Sha256 sha256_;
  int64_t received_ = 0;

  // Guarded by mu_.
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  bool verified_ ABSL_GUARDED_BY(mu_) = false;
  int64_t size_ ABSL_GUARDED_BY(mu_) = 0;
  Pieces pieces_ ABSL_GUARDED_BY(mu_);
  bool began_anew_ ABSL_GUARDED_BY(mu_) = false;
  int code_ ABSL_GUARDED_BY(mu_) = 0;
  std::string error_body_ ABSL_GUARDED_BY(mu_);
  pb::Dataset dataset_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
