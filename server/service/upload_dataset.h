#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/service/lasting_calls.h"
#include "server/service/transfers.h"

namespace finetune {

// Told how an upload ended, once, as its last act.
using UploadDone = absl::AnyInvocable<void(const absl::Status& status) &&>;

// Begins an UploadDataset and returns its reactor, which owns itself. The client's bytes go to
// Segmind's storage as they come, at most a few MiB of them on the way, and the last byte only when
// size and digest are known to be right: storage never has a wrong dataset. `transfers` outlives
// it.
//
// INVALID_ARGUMENT / INVALID_FIELD, DATA_LOSS / CHECKSUM_MISMATCH, UNAVAILABLE /
// UPSTREAM_UNAVAILABLE (storage), DEADLINE_EXCEEDED (the client sends nothing), what Transfers and
// SegmindClient::CreateUploadUrl refuse with, and what `lasting` is revoked with.
grpc::ServerReadReactor<grpc::ByteBuffer>* StartUpload(
    Transfers& transfers, grpc::CallbackServerContext* context, grpc::ByteBuffer* answer,
    const TraceContext& trace, const std::shared_ptr<LastingCall>& lasting, UploadDone done);

}  // namespace finetune
