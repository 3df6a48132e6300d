#include "server/service/fine_tune_service.h"

#include <memory>
#include <utility>

#include "server/base/status_macros.h"
#include "server/service/calls/message_bytes.h"
#include "server/service/visible_job.h"

namespace finetune {
namespace {

// How many calls of a method may arrive before the first is looked at; more wait in gRPC.
constexpr int kAtOnce = 16;
// A request this long is handled aside (UnaryMethod::aside_beyond): reading such a filter takes a
// while.
constexpr size_t kLongFilter = 256;
// A longer name for an upload is surely wrong; with the usual one there is little to do but to ask
// Segmind.
constexpr size_t kLongUploadName = 512;
constexpr size_t kNever = SIZE_MAX;

}  // namespace

template <typename Message, typename Ask, typename Handle>
UnaryMethod FineTuneService::Unary(Method method, size_t aside_beyond, Ask ask, Handle handle) {
  return {
      method,
      [this, ask](grpc::ServerContext& context, Bytes& request, UnaryMethod::Writer& writer,
                  grpc::CompletionQueue& queue, grpc::ServerCompletionQueue& arrivals,
                  void* tag) { (this->*ask)(&context, &request, &writer, &queue, &arrivals, tag); },
      [this, handle](const Bytes& bytes, UnaryCall& call) {
        Message message;
        if (absl::Status status = ReadMessage(bytes, message); !status.ok())
          return call.Fail(status);
        if (!MetadataOf(call.context(), kSessionKey)) return handle(std::move(message), call);
        sessions_.Enter(call, [handle, message = std::move(message), &call]() mutable {
          handle(std::move(message), call);
        });
      },
      aside_beyond};
}

FineTuneService::FineTuneService(const ServiceParts& parts, CallGate& gate)
    : parts_(parts),
      gate_(gate),
      sessions_(parts.catalog, parts.recorder),
      reads_(parts),
      writes_(parts),
      spending_(parts),
      unary_({
          Unary<pb::CreateFineTuneRequest>(
              Method::kCreateFineTune, 0, &FineTuneService::RequestCreateFineTune,
              [this](auto read, auto& call) { writes_.Create(std::move(read), call); }),
          Unary<pb::GetFineTuneRequest>(
              Method::kGetFineTune, kNever, &FineTuneService::RequestGetFineTune,
              [this](auto read, auto& call) { reads_.Get(std::move(read), call); }),
          Unary<pb::ListFineTunesRequest>(
              Method::kListFineTunes, kLongFilter, &FineTuneService::RequestListFineTunes,
              [this](auto read, auto& call) { reads_.List(std::move(read), call); }),
          Unary<pb::WaitFineTuneRequest>(
              Method::kWaitFineTune, 0, &FineTuneService::RequestWaitFineTune,
              [this](auto read, auto& call) { reads_.Wait(std::move(read), call); }),
          Unary<pb::UpdateFineTuneRequest>(
              Method::kUpdateFineTune, 0, &FineTuneService::RequestUpdateFineTune,
              [this](auto read, auto& call) { writes_.Update(std::move(read), call); }),
          Unary<pb::CreateUploadUrlRequest>(
              Method::kCreateUploadUrl, kLongUploadName, &FineTuneService::RequestCreateUploadUrl,
              [this](auto read, auto& call) { writes_.CreateUploadUrl(std::move(read), call); }),
          Unary<pb::GetGatewayStatusRequest>(
              Method::kGetGatewayStatus, kNever, &FineTuneService::RequestGetGatewayStatus,
              [this](auto read, auto& call) { reads_.Status(std::move(read), call); }),
          Unary<pb::GetSpendingRequest>(
              Method::kGetSpending, 0, &FineTuneService::RequestGetSpending,
              [this](auto read, auto& call) { spending_.Get(read, call); }),
      }),
      upload_(Upload()),
      download_(Download()) {}

void FineTuneService::Accept(CallQueues& queues) {
  for (int i = 0; i < kAtOnce; ++i) {
    for (const UnaryMethod& method : unary_) {
      const bool waits = method.method == Method::kWaitFineTune;
      UnaryCall::Accept({.method = method,
                         .gate = gate_,
                         .queues = queues,
                         .queue = waits ? queues.waits() : queues.arrivals()});
    }
    AcceptWatch({.method = *this,
                 .hub = parts_.hub,
                 .watch_queues = parts_.watch_queues,
                 .call_queues = queues});
    AcceptUpload(upload_, queues);
    AcceptDownload(download_, queues);
  }
}

void FineTuneService::Request(grpc::ServerContext& context, Bytes& request,
                              grpc::ServerAsyncWriter<Bytes>& writer, grpc::CompletionQueue& queue,
                              grpc::ServerCompletionQueue& arrivals, void* tag) {
  RequestWatchFineTunes(&context, &request, &writer, &queue, &arrivals, tag);
}

absl::StatusOr<WatchMethod::Look> FineTuneService::Admit(grpc::ServerContext& context,
                                                         const Bytes& request,
                                                         WatchStreamDone& done,
                                                         std::shared_ptr<LastingCall>& lasting) {
  auto owned = std::make_unique<Call>();
  Call& call = *owned;
  done = [this, owned = std::move(owned)](const absl::Status& ended) {
    gate_.End(*owned, ended, 0);
  };
  RETURN_IF_ERROR(gate_.Admit(Method::kWatchFineTunes, &context, call));
  lasting = call.lasting;
  auto message = std::make_shared<pb::WatchFineTunesRequest>();
  RETURN_IF_ERROR(ReadMessage(request, *message));
  // `call` lives as long as `done`. The function may run more than once; the call is charged once.
  return
      [this, message, &call, taken = std::make_shared<bool>(false)]() -> absl::StatusOr<WatchSpec> {
        ASSIGN_OR_RETURN(WatchSpec spec, reads_.CheckWatch(*message, *call.caller));
        if (const int64_t cost = spec.cost(); cost > 0 && !*taken)
          RETURN_IF_ERROR(gate_.Take(call, Share::kWatchTerms, cost));
        *taken = true;
        return spec;
      };
}

bool FineTuneService::MayLag(const grpc::ServerContext& context,
                             const absl::StatusOr<WatchSpec>& found) const {
  if (!parts_.recorder.is_shared()) return false;
  if (!found.ok()) return absl::IsNotFound(found.status());
  const bool resumes_ahead = found->resume && !parts_.catalog.HasPoint(*found->resume) &&
                             parts_.catalog.MayComeTo(*found->resume);
  return resumes_ahead || sessions_.MayBeAhead(context);
}

UploadMethod FineTuneService::Upload() {
  return {.ask =
              [this](grpc::ServerContext& context, UploadMethod::Reader& reader,
                     grpc::ServerCompletionQueue& arrivals, void* tag) {
                RequestUploadDataset(&context, &reader, &arrivals, &arrivals, tag);
              },
          .admit = [this](grpc::ServerContext& context,
                          UploadDone& done) -> absl::StatusOr<AdmittedUpload> {
            auto owned = std::make_unique<Call>();
            Call& call = *owned;
            done = [this, owned = std::move(owned)](const absl::Status& ended, double messages) {
              gate_.End(*owned, ended, ended.ok() ? 1 : 0, messages);
            };
            RETURN_IF_ERROR(gate_.Admit(Method::kUploadDataset, &context, call));
            if (parts_.transfers == nullptr)
              return absl::UnimplementedError("this gateway does not transfer datasets");
            return AdmittedUpload{*parts_.transfers, call.span.context(), call.caller->use,
                                  call.lasting};
          }};
}

DownloadMethod FineTuneService::Download() {
  return {.ask =
              [this](grpc::ServerContext& context, Bytes& request, DownloadMethod::Writer& writer,
                     grpc::ServerCompletionQueue& arrivals, void* tag) {
                RequestDownloadWeights(&context, &request, &writer, &arrivals, &arrivals, tag);
              },
          .admit = [this](grpc::ServerContext& context, const Bytes& request,
                          DownloadDone& done) -> absl::StatusOr<DownloadMethod::Look> {
            auto owned = std::make_unique<Call>();
            Call& call = *owned;
            done = [this, owned = std::move(owned)](const absl::Status& ended, double messages) {
              gate_.End(*owned, ended, messages);
            };
            RETURN_IF_ERROR(gate_.Admit(Method::kDownloadWeights, &context, call));
            if (parts_.transfers == nullptr)
              return absl::UnimplementedError("this gateway does not transfer weights");
            pb::DownloadWeightsRequest message;
            RETURN_IF_ERROR(ReadMessage(request, message));
            return [this, message = std::move(message),
                    &call]() -> absl::StatusOr<AdmittedDownload> {
              ASSIGN_OR_RETURN(const VersionPtr version,
                               FindVisible(parts_.catalog, message.name(), "name", *call.caller));
              call.fine_tune = message.name();
              ASSIGN_OR_RETURN(DownloadSpec spec, CheckDownload(message, *version));
              spec.trace = call.span.context();
              spec.sharer = call.caller->use;
              return AdmittedDownload{*parts_.transfers, std::move(spec), call.lasting};
            };
          },
          .catch_up = parts_.recorder.is_shared()
                          ? [this](absl::AnyInvocable<void(absl::Status) &&>
                                       then) { parts_.recorder.CatchUp(std::move(then)); }
                          : decltype(DownloadMethod::catch_up)()};
}

}  // namespace finetune
