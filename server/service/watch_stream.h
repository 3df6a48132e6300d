#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/jobs/watch_hub.h"
#include "server/service/lasting_calls.h"

namespace finetune {

// Told how a stream ended, once, as its last act.
using WatchStreamDone = absl::AnyInvocable<void(const absl::Status& status) &&>;

// Begins a checked WatchFineTunes and returns its reactor, for the method's handler to return at
// once. The stream owns itself; `hub` outlives it. A watch that the hub refuses ends with the
// hub's error. `lasting`, unless it is null, ends it when it is revoked.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatchStream(
    WatchHub& hub, WatchSpec spec, grpc::CallbackServerContext* context,
    std::shared_ptr<LastingCall> lasting = nullptr, WatchStreamDone done = nullptr);

}  // namespace finetune
