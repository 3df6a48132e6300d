#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/service/calls/call_queues.h"
#include "server/service/calls/lasting_calls.h"
#include "server/service/watches/watch_queues.h"

namespace finetune {

// Told how a stream ended, once, as its last act.
using WatchStreamDone = absl::AnyInvocable<void(const absl::Status& status) &&>;

// WatchFineTunes, as a stream sees it. Thread-safe; outlives the server's calls.
class WatchMethod {
 public:
  virtual ~WatchMethod() = default;
  // Requests the next call from the server, which `arrivals` reports with `tag`.
  virtual void Request(grpc::ServerContext& context, grpc::ByteBuffer& request,
                       grpc::ServerAsyncWriter<grpc::ByteBuffer>& writer,
                       grpc::CompletionQueue& queue, grpc::ServerCompletionQueue& arrivals,
                       void* tag) = 0;
  // Looks at what a call wants by what is known then; may run more than once.
  using Look = std::function<absl::StatusOr<WatchSpec>()>;
  // Admits a call, or says why it is refused; sets `done` in either case. `lasting`, where it is
  // set too, ends the stream when it is revoked.
  virtual absl::StatusOr<Look> Admit(grpc::ServerContext& context, const grpc::ByteBuffer& request,
                                     WatchStreamDone& done,
                                     std::shared_ptr<LastingCall>& lasting) = 0;
  // Whether what was found may be otherwise once it is known what other processes committed.
  virtual bool MayLag(const grpc::ServerContext& context,
                      const absl::StatusOr<WatchSpec>& found) const = 0;
  // Recorder::CatchUp.
  virtual void CatchUp(absl::AnyInvocable<void(absl::Status) &&> done) = 0;
};

// Where streams come from and who serves them; `watch_queues` are those of the hub's threads.
struct WatchRoute {
  WatchMethod& method;
  WatchHub& hub;
  WatchQueues& watch_queues;
  CallQueues& call_queues;
};

// Requests a call, serves it as a stream, and requests the next one as soon as it has arrived. The
// stream owns itself; what `route` names outlives it. A watch that the hub refuses ends with the
// hub's error.
void AcceptWatch(const WatchRoute& route);

}  // namespace finetune
