#pragma once

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/service/call_gate.h"
#include "server/service/handlers.h"
#include "server/service/watch_stream.h"

namespace finetune {

// FineTuneService with every method as raw bytes, so that all of them pass one gate and answers
// made of ready bytes are sent as they are.
class FineTuneService final
    : public pb::FineTuneService::WithRawCallbackMethod_CreateFineTune<
          pb::FineTuneService::WithRawCallbackMethod_GetFineTune<
              pb::FineTuneService::WithRawCallbackMethod_ListFineTunes<
                  pb::FineTuneService::WithRawMethod_WatchFineTunes<
                      pb::FineTuneService::WithRawCallbackMethod_WaitFineTune<
                          pb::FineTuneService::WithRawCallbackMethod_UpdateFineTune<
                              pb::FineTuneService::WithRawCallbackMethod_CreateUploadUrl<
                                  pb::FineTuneService::WithRawCallbackMethod_UploadDataset<
                                      pb::FineTuneService::WithRawCallbackMethod_DownloadWeights<
                                          pb::FineTuneService::
                                              WithRawCallbackMethod_GetGatewayStatus<
                                                  pb::FineTuneService::Service>>>>>>>>>>,
      private WatchMethod {
 public:
  // `gate` and what `parts` names outlive the server's calls.
  FineTuneService(const ServiceParts& parts, CallGate& gate);

  // Serves one watch, and with it the next.
  void AcceptWatch(grpc::ServerCompletionQueue& arrivals);

  // Ends waits, so that their calls are finished when the server shuts down.
  void Drain() { reads_.Drain(); }

 private:
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  using Unary = grpc::ServerUnaryReactor;

  Unary* CreateFineTune(Context* context, const Bytes* request, Bytes* answer) override;
  Unary* GetFineTune(Context* context, const Bytes* request, Bytes* answer) override;
  Unary* ListFineTunes(Context* context, const Bytes* request, Bytes* answer) override;
  Unary* WaitFineTune(Context* context, const Bytes* request, Bytes* answer) override;
  Unary* UpdateFineTune(Context* context, const Bytes* request, Bytes* answer) override;
  Unary* CreateUploadUrl(Context* context, const Bytes* request, Bytes* answer) override;
  grpc::ServerReadReactor<Bytes>* UploadDataset(Context* context, Bytes* answer) override;
  grpc::ServerWriteReactor<Bytes>* DownloadWeights(Context* context, const Bytes* request) override;
  Unary* GetGatewayStatus(Context* context, const Bytes* request, Bytes* answer) override;

  // WatchMethod.
  void Request(grpc::ServerContext& context, Bytes& request, grpc::ServerAsyncWriter<Bytes>& writer,
               grpc::CompletionQueue& queue, grpc::ServerCompletionQueue& arrivals,
               void* tag) override;
  absl::StatusOr<WatchSpec> Check(grpc::ServerContext& context, const Bytes& request,
                                  WatchStreamDone& done) override;

  const ServiceParts parts_;
  CallGate& gate_;
  ReadHandlers reads_;
  WriteHandlers writes_;
};

}  // namespace finetune
