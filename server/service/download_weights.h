#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/jobs/version.h"
#include "server/service/transfers.h"

namespace finetune {

// A checked DownloadWeightsRequest.
struct DownloadSpec {
  std::string weights_uri;
  // Whether anyone may read that URL; else a signed one is asked for.
  bool open = false;
  int64_t offset = 0;
  int64_t limit = 0;  // 0: all.
  TraceContext trace;
};

// What `request` asks of that job. FAILED_PRECONDITION / WEIGHTS_NOT_READY, INVALID_ARGUMENT /
// INVALID_FIELD.
absl::StatusOr<DownloadSpec> CheckDownload(const pb::DownloadWeightsRequest& request,
                                           const FineTuneVersion& version);

// Told how a download ended, and how many messages were sent, once, as its last act.
using DownloadDone = absl::AnyInvocable<void(const absl::Status& status, double messages) &&>;

// Begins a DownloadWeights and returns its reactor, which owns itself. The source is read no faster
// than the client takes the bytes, at most a few MiB of them on the way. `transfers` outlives it.
//
// UNAVAILABLE / UPSTREAM_UNAVAILABLE (storage refuses, breaks off or stalls: continue at the next
// byte), OUT_OF_RANGE (the file ends before the offset), INTERNAL / UPSTREAM_MALFORMED (it leads to
// a host that is not allowed, or contradicts itself), what Transfers and
// SegmindClient::CreateDownloadUrl refuse with. A client that stops reading is cut off.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartDownload(Transfers& transfers, DownloadSpec spec,
                                                          grpc::CallbackServerContext* context,
                                                          DownloadDone done);

}  // namespace finetune
