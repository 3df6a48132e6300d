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
#include "server/service/transfers/download.h"
#include "server/service/transfers/transfers.h"

namespace finetune {

// Told how a download ended, and how many messages were sent, once, as its last act.
using DownloadDone = absl::AnyInvocable<void(const absl::Status& status, double messages) &&>;

// A download that may begin.
struct AdmittedDownload {
  Transfers& transfers;
  DownloadSpec spec;
  std::shared_ptr<LastingCall> lasting;
};

// DownloadWeights: how its calls are asked for, and who may make them.
struct DownloadMethod {
  using Writer = grpc::ServerAsyncWriter<grpc::ByteBuffer>;

  // Requests a call from the server, which `arrivals` reports with `tag`.
  std::function<void(grpc::ServerContext& context, grpc::ByteBuffer& request, Writer& writer,
                     grpc::ServerCompletionQueue& arrivals, void* tag)>
      ask;
  // Whether a call may begin, or why not; sets `done` in either case. `done` outlives what is
  // returned: a look at the job, which may be repeated.
  using Look = std::function<absl::StatusOr<AdmittedDownload>()>;
  std::function<absl::StatusOr<Look>(grpc::ServerContext& context, const grpc::ByteBuffer& request,
                                     DownloadDone& done)>
      admit;
  // As Recorder::CatchUp; empty if no other process commits. Called before a job counts as missing,
  // because another process may have made it.
  std::function<void(absl::AnyInvocable<void(absl::Status) &&> done)> catch_up;
};

// Requests a DownloadWeights, serves it, and requests the next one as soon as it has arrived. The
// source is read no faster than the client takes the bytes, with at most a few MiB on the way.
// `method` and `queues` outlive it.
//
// UNAVAILABLE / UPSTREAM_UNAVAILABLE (storage refuses, breaks off or stalls: continue at the next
// byte), OUT_OF_RANGE (the file ends before the offset), ABORTED / WEIGHTS_CHANGED (it is not the
// one that is continued), INTERNAL / UPSTREAM_MALFORMED (it leads to a host that is not allowed,
// contradicts itself, or is no weights), what Transfers and
// SegmindClient::CreateDownloadUrl refuse with, and what the call is revoked with. A client that
// stops reading is cut off.
void AcceptDownload(const DownloadMethod& method, CallQueues& queues);

}  // namespace finetune
