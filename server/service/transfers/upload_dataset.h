#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/service/calls/call_queues.h"
#include "server/service/calls/lasting_calls.h"
#include "server/service/transfers/transfers.h"

namespace finetune {

// Told how an upload ended, and how many messages came, once, as its last act.
using UploadDone = absl::AnyInvocable<void(const absl::Status& status, double messages) &&>;

// An upload that may begin.
struct AdmittedUpload {
  Transfers& transfers;
  TraceContext trace;
  std::shared_ptr<Sharer> sharer;
  std::shared_ptr<LastingCall> lasting;
};

// UploadDataset: how its calls are asked for, and who may make them.
struct UploadMethod {
  using Reader = grpc::ServerAsyncReader<grpc::ByteBuffer, grpc::ByteBuffer>;

  // Requests a call from the server, which `arrivals` reports with `tag`.
  std::function<void(grpc::ServerContext& context, Reader& reader,
                     grpc::ServerCompletionQueue& arrivals, void* tag)>
      ask;
  // Whether a call may begin, or why not; sets `done` in either case.
  std::function<absl::StatusOr<AdmittedUpload>(grpc::ServerContext& context, UploadDone& done)>
      admit;
};

// Requests an UploadDataset, serves it, and requests the next one as soon as it has arrived. The
// client's bytes go to Segmind's storage as they come, with at most a few MiB on the way, and the
// last byte only when size and digest are known to be right, so that storage never has a wrong
// dataset. `method` and `queues` outlive it.
//
// INVALID_ARGUMENT / INVALID_FIELD (also for data that cannot be trained with: not a zip, or one
// without an image), DATA_LOSS / CHECKSUM_MISMATCH, UNAVAILABLE / UPSTREAM_UNAVAILABLE (storage),
// DEADLINE_EXCEEDED (the client sends nothing), what Transfers and SegmindClient::CreateUploadUrl
// refuse with, and what the call is revoked with.
void AcceptUpload(const UploadMethod& method, CallQueues& queues);

}  // namespace finetune
