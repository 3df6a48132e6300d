#pragma once

#include <vector>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/service/calls/call_gate.h"
#include "server/service/calls/call_queues.h"
#include "server/service/calls/unary_call.h"
#include "server/service/read_handlers.h"
#include "server/service/requests/session.h"
#include "server/service/service_parts.h"
#include "server/service/spending_handler.h"
#include "server/service/transfers/download_weights.h"
#include "server/service/transfers/upload_dataset.h"
#include "server/service/watches/watch_stream.h"
#include "server/service/write_handlers.h"

namespace finetune {

// FineTuneService with every method as raw bytes, so that all methods pass one gate and answers
// made of ready bytes are sent as they are. Clients can reach it once it accepts calls.
class FineTuneService final
    : public pb::FineTuneService::WithRawMethod_CreateFineTune<
          pb::FineTuneService::WithRawMethod_GetFineTune<
              pb::FineTuneService::WithRawMethod_ListFineTunes<
                  pb::FineTuneService::WithRawMethod_WatchFineTunes<
                      pb::FineTuneService::WithRawMethod_WaitFineTune<
                          pb::FineTuneService::WithRawMethod_UpdateFineTune<
                              pb::FineTuneService::WithRawMethod_CreateUploadUrl<
                                  pb::FineTuneService::WithRawMethod_UploadDataset<
                                      pb::FineTuneService::WithRawMethod_DownloadWeights<
                                          pb::FineTuneService::WithRawMethod_GetGatewayStatus<
                                              pb::FineTuneService::WithRawMethod_GetSpending<
                                                  pb::FineTuneService::Service>>>>>>>>>>>,
      private WatchMethod {
 public:
  // `gate` and what `parts` names outlive the server's calls.
  FineTuneService(const ServiceParts& parts, CallGate& gate);

  // Takes calls from now on. Call it once the server that it is registered with has been built.
  void Accept(CallQueues& queues);

  pb::GatewayStatus CommonStatus() const { return reads_.CommonStatus(); }

  // Ends waits, so that their calls are finished when the server shuts down.
  void Drain() { reads_.Drain(); }

 private:
  using Bytes = grpc::ByteBuffer;

  // `ask` is RequestGetFineTune or the like; `handle` takes a Message and the call.
  template <typename Message, typename Ask, typename Handle>
  UnaryMethod Unary(Method method, size_t aside_beyond, Ask ask, Handle handle);
  UploadMethod Upload();
  DownloadMethod Download();

  // WatchMethod.
  void Request(grpc::ServerContext& context, Bytes& request, grpc::ServerAsyncWriter<Bytes>& writer,
               grpc::CompletionQueue& queue, grpc::ServerCompletionQueue& arrivals,
               void* tag) override;
  absl::StatusOr<Look> Admit(grpc::ServerContext& context, const Bytes& request,
                             WatchStreamDone& done, std::shared_ptr<LastingCall>& lasting) override;
  bool MayLag(const grpc::ServerContext& context,
              const absl::StatusOr<WatchSpec>& found) const override;
  void CatchUp(absl::AnyInvocable<void(absl::Status) &&> done) override {
    parts_.recorder.CatchUp(std::move(done));
  }

  const ServiceParts parts_;
  CallGate& gate_;
  Sessions sessions_;
  ReadHandlers reads_;
  WriteHandlers writes_;
  SpendingHandler spending_;
  const std::vector<UnaryMethod> unary_;
  const UploadMethod upload_;
  const DownloadMethod download_;
};

}  // namespace finetune
