#include "server/service/fine_tune_service.h"

#include <memory>
#include <utility>

#include "server/base/status_macros.h"
#include "server/service/download_weights.h"
#include "server/service/grpc_status.h"
#include "server/service/upload_dataset.h"
#include "server/service/violations.h"

namespace finetune {
namespace {

// A stream that ends before it began.
template <typename Reactor>
class Refusal final : public Reactor {
 public:
  explicit Refusal(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};
using WriteRefusal = Refusal<grpc::ServerWriteReactor<grpc::ByteBuffer>>;
using ReadRefusal = Refusal<grpc::ServerReadReactor<grpc::ByteBuffer>>;

template <typename Message>
absl::StatusOr<Message> Read(const grpc::ByteBuffer& bytes) {
  Message message;
  grpc::Slice slice;
  const bool whole = bytes.TrySingleSlice(&slice).ok() || bytes.DumpToSingleSlice(&slice).ok();
  if (whole && message.ParseFromArray(slice.begin(), static_cast<int>(slice.size())))
    return message;
  return Error(absl::StatusCode::kInvalidArgument, pb::INVALID_FIELD,
               "the request is not a message of this method's type");
}

}  // namespace

FineTuneService::FineTuneService(const ServiceParts& parts, CallGate& gate)
    : parts_(parts), gate_(gate), reads_(parts), writes_(parts) {}

FineTuneService::Unary* FineTuneService::CreateFineTune(Context* context, const Bytes* request,
                                                        Bytes* answer) {
  return UnaryCall::Start<pb::CreateFineTuneRequest>(
      gate_, Method::kCreateFineTune, context, request, answer,
      [this](auto checked, UnaryCall& call) { writes_.Create(std::move(checked), call); });
}

FineTuneService::Unary* FineTuneService::GetFineTune(Context* context, const Bytes* request,
                                                     Bytes* answer) {
  return UnaryCall::Start<pb::GetFineTuneRequest>(
      gate_, Method::kGetFineTune, context, request, answer,
      [this](auto read, UnaryCall& call) { reads_.Get(std::move(read), call); });
}

FineTuneService::Unary* FineTuneService::ListFineTunes(Context* context, const Bytes* request,
                                                       Bytes* answer) {
  return UnaryCall::Start<pb::ListFineTunesRequest>(
      gate_, Method::kListFineTunes, context, request, answer,
      [this](auto read, UnaryCall& call) { reads_.List(std::move(read), call); });
}

void FineTuneService::AcceptWatch(grpc::ServerCompletionQueue& arrivals) {
  finetune::AcceptWatch(
      {.method = *this, .hub = parts_.hub, .queues = parts_.watch_queues, .arrivals = arrivals});
}

void FineTuneService::Request(grpc::ServerContext& context, Bytes& request,
                              grpc::ServerAsyncWriter<Bytes>& writer, grpc::CompletionQueue& queue,
                              grpc::ServerCompletionQueue& arrivals, void* tag) {
  RequestWatchFineTunes(&context, &request, &writer, &queue, &arrivals, tag);
}

absl::StatusOr<WatchSpec> FineTuneService::Check(grpc::ServerContext& context, const Bytes& request,
                                                 WatchStreamDone& done) {
  auto owned = std::make_unique<Call>();
  Call& call = *owned;
  done = [this, owned = std::move(owned)](const absl::Status& ended) {
    gate_.End(*owned, ended, 0);
  };
  RETURN_IF_ERROR(gate_.Admit(Method::kWatchFineTunes, &context, call));
  ASSIGN_OR_RETURN(const auto message, Read<pb::WatchFineTunesRequest>(request));
  return reads_.CheckWatch(message, *call.caller);
}

FineTuneService::Unary* FineTuneService::WaitFineTune(Context* context, const Bytes* request,
                                                      Bytes* answer) {
  return UnaryCall::Start<pb::WaitFineTuneRequest>(
      gate_, Method::kWaitFineTune, context, request, answer,
      [this](auto read, UnaryCall& call) { reads_.Wait(std::move(read), call); });
}

FineTuneService::Unary* FineTuneService::UpdateFineTune(Context* context, const Bytes* request,
                                                        Bytes* answer) {
  return UnaryCall::Start<pb::UpdateFineTuneRequest>(
      gate_, Method::kUpdateFineTune, context, request, answer,
      [this](auto read, UnaryCall& call) { writes_.Update(std::move(read), call); });
}

FineTuneService::Unary* FineTuneService::CreateUploadUrl(Context* context, const Bytes* request,
                                                         Bytes* answer) {
  return UnaryCall::Start<pb::CreateUploadUrlRequest>(
      gate_, Method::kCreateUploadUrl, context, request, answer,
      [this](auto read, UnaryCall& call) { writes_.CreateUploadUrl(std::move(read), call); });
}

grpc::ServerReadReactor<grpc::ByteBuffer>* FineTuneService::UploadDataset(Context* context,
                                                                          Bytes* answer) {
  auto call = std::make_unique<Call>();
  absl::Status status = gate_.Admit(Method::kUploadDataset, context, *call);
  if (status.ok() && parts_.transfers == nullptr)
    status = absl::UnimplementedError("this gateway does not transfer datasets");
  if (!status.ok()) {
    gate_.End(*call, status, 0);
    return new ReadRefusal(status);
  }
  const TraceContext trace = call->span.context();
  return StartUpload(*parts_.transfers, context, answer, trace,
                     [this, call = std::move(call)](const absl::Status& ended) {
                       gate_.End(*call, ended, ended.ok() ? 1 : 0);
                     });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* FineTuneService::DownloadWeights(Context* context,
                                                                             const Bytes* request) {
  auto call = std::make_unique<Call>();
  const auto check = [&]() -> absl::StatusOr<DownloadSpec> {
    RETURN_IF_ERROR(gate_.Admit(Method::kDownloadWeights, context, *call));
    if (parts_.transfers == nullptr)
      return absl::UnimplementedError("this gateway does not transfer weights");
    ASSIGN_OR_RETURN(const auto message, Read<pb::DownloadWeightsRequest>(*request));
    ASSIGN_OR_RETURN(const VersionPtr version,
                     FindVisible(parts_.catalog, message.name(), "name", *call->caller));
    call->fine_tune = message.name();
    return CheckDownload(message, *version);
  };
  auto spec = check();
  if (!spec.ok()) {
    gate_.End(*call, spec.status(), 0);
    return new WriteRefusal(spec.status());
  }
  spec->trace = call->span.context();
  return StartDownload(*parts_.transfers, *std::move(spec), context,
                       [this, call = std::move(call)](const absl::Status& ended, double messages) {
                         gate_.End(*call, ended, messages);
                       });
}

FineTuneService::Unary* FineTuneService::GetGatewayStatus(Context* context, const Bytes* request,
                                                          Bytes* answer) {
  return UnaryCall::Start<pb::GetGatewayStatusRequest>(
      gate_, Method::kGetGatewayStatus, context, request, answer,
      [this](auto read, UnaryCall& call) { reads_.Status(std::move(read), call); });
}

}  // namespace finetune
