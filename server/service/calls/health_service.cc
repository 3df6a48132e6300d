#include "server/service/calls/health_service.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "server/service/calls/draining.h"
#include "server/service/calls/grpc_status.h"
#include "server/service/calls/queued_call.h"

namespace finetune {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// How many calls may arrive before the first is looked at; more wait in gRPC.
constexpr int kAtOnce = 4;

}  // namespace

class HealthService::CheckCall final : public QueuedCall {
 public:
  CheckCall(HealthService& service, CallQueues& queues) : QueuedCall(queues), service_(service) {}

  void Accept() { Ask(context_); }

 private:
  void Request(void* tag) override {
    service_.RequestCheck(&context_, &request_, &writer_, &arrivals(), &arrivals(), tag);
  }
  void OnArrived() override {
    (new CheckCall(service_, queues()))->Accept();
    Answer answer;
    {
      MutexLock lock(service_.mu_);
      answer.set_status(service_.StatusOf(request_.service()));
    }
    if (answer.status() != Answer::SERVICE_UNKNOWN)
      return writer_.Finish(answer, grpc::Status::OK, finished_.Begin());
    writer_.FinishWithError(ToGrpcStatus(absl::NotFoundError("this server has no such service")),
                            finished_.Begin());
  }
  void OnFinished(bool) {}

  HealthService& service_;
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncResponseWriter<HealthCheckResponse> writer_{&context_};
  Operation<CheckCall> finished_{*this, &CheckCall::OnFinished};
};

class HealthService::WatchCall final : public QueuedCall {
 public:
  WatchCall(HealthService& service, CallQueues& queues) : QueuedCall(queues), service_(service) {}

  void Accept() { Ask(context_); }

  // Begins the next write or the end of the stream, whichever is due. The service's mutex is held.
  void Turn() {
    service_.mu_.AssertHeld();
    if (writing_ || finished_) return;
    if (service_.draining_) {
      finished_ = true;
      writer_.Finish(ToGrpcStatus(Draining()), finish_.Begin());
      return;
    }
    const auto status = service_.StatusOf(request_.service());
    if (said_ == status) return;
    said_ = status;
    writing_ = true;
    Answer answer;
    answer.set_status(status);
    writer_.Write(answer, write_.Begin());
  }

 private:
  void Request(void* tag) override {
    service_.RequestWatch(&context_, &request_, &writer_, &arrivals(), &arrivals(), tag);
  }
  void OnArrived() override {
    (new WatchCall(service_, queues()))->Accept();
    MutexLock lock(service_.mu_);
    service_.watches_.insert(this);
    Turn();
  }
  void OnGone(bool) override {
    MutexLock lock(service_.mu_);
    service_.watches_.erase(this);
  }
  void OnWritten(bool ok) {
    MutexLock lock(service_.mu_);
    writing_ = false;
    if (ok) Turn();
  }
  void OnFinished(bool) {}

  HealthService& service_;
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncWriter<HealthCheckResponse> writer_{&context_};
  std::optional<Answer::ServingStatus> said_ ABSL_GUARDED_BY(service_.mu_);
  bool writing_ ABSL_GUARDED_BY(service_.mu_) = false;
  bool finished_ ABSL_GUARDED_BY(service_.mu_) = false;
  Operation<WatchCall> write_{*this, &WatchCall::OnWritten};
  Operation<WatchCall> finish_{*this, &WatchCall::OnFinished};
};

HealthService::HealthService(std::vector<std::string> services) : services_(std::move(services)) {}

HealthService::~HealthService() = default;

void HealthService::Accept(CallQueues& queues) {
  for (int i = 0; i < kAtOnce; ++i) {
    (new CheckCall(*this, queues))->Accept();
    (new WatchCall(*this, queues))->Accept();
  }
}

void HealthService::SetServing(bool serving) {
  MutexLock lock(mu_);
  serving_ = serving;
  for (WatchCall* watch : watches_) watch->Turn();
}

void HealthService::Drain() {
  MutexLock lock(mu_);
  serving_ = false;
  draining_ = true;
  for (WatchCall* watch : watches_) watch->Turn();
}

HealthService::Answer::ServingStatus HealthService::StatusOf(const std::string& service) const {
  const bool known = service.empty() || std::count(services_.begin(), services_.end(), service) > 0;
  if (!known) return Answer::SERVICE_UNKNOWN;
  return serving_ ? Answer::SERVING : Answer::NOT_SERVING;
}

}  // namespace finetune
