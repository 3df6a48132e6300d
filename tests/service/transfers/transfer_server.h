#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/base/mutex.h"
#include "server/base/worker.h"
#include "server/segmind/segmind_client.h"
#include "server/service/calls/call_queues.h"
#include "server/service/calls/lasting_calls.h"
#include "server/service/transfers/transfers.h"
#include "tests/base/manual_clock.h"
#include "tests/http/fake_http_client.h"

namespace finetune {

// A storage that takes and gives all, on a thread of its own as the real one does.
class WillingStorage : public HttpStreamer {
 public:
  explicit WillingStorage(std::string weights = "") : weights_(std::move(weights)) {}
  ~WillingStorage() override { Shutdown(); }

  std::shared_ptr<HttpStream> Start(StreamRequest request,
                                    std::shared_ptr<HttpStreamListener> listener) override {
    auto stream = std::make_shared<Stream>(*this);
    stream->request = std::move(request);
    stream->listener = std::move(listener);
    worker_.Post([this, stream] { Step(*stream); });
    return stream;
  }
  void Shutdown() override { worker_.Stop(); }

  // What was put there; empty unless it was all there.
  std::string stored() const {
    MutexLock lock(mu_);
    return stored_;
  }
  int cancelled() const {
    MutexLock lock(mu_);
    return cancelled_;
  }

 private:
  struct Stream : HttpStream, std::enable_shared_from_this<Stream> {
    explicit Stream(WillingStorage& the_storage) : storage(the_storage) {}
    void Resume() override {
      storage.worker_.Post([self = shared_from_this()] { self->storage.Step(*self); });
    }
    void Cancel() override {
      storage.worker_.Post([self = shared_from_this()] {
        if (self->storage.End(*self, absl::CancelledError("cancelled"))) {
          MutexLock lock(self->storage.mu_);
          ++self->storage.cancelled_;
        }
      });
    }

    WillingStorage& storage;
    StreamRequest request;
    std::shared_ptr<HttpStreamListener> listener;  // Null once it has ended.
    std::string body;
    bool began = false;
    size_t given = 0;
  };

  bool End(Stream& stream, const absl::Status& status) {
    const auto listener = std::exchange(stream.listener, nullptr);
    if (listener == nullptr) return false;
    listener->OnEnd(status);
    return true;
  }
  void Step(Stream& stream) {
    if (stream.listener == nullptr) return;
    if (stream.request.method == "PUT") return Take(stream);
    if (!std::exchange(stream.began, true)) {
      HttpResponse head;
      head.code = 200;
      head.headers = {{"content-length", absl::StrCat(weights_.size())}};
      stream.listener->OnHead(head);
    }
    constexpr size_t kPiece = size_t{256} << 10;
    while (stream.given < weights_.size()) {
      const std::string_view piece = std::string_view(weights_).substr(stream.given, kPiece);
      if (!stream.listener->OnData(piece)) return;
      stream.given += piece.size();
    }
    End(stream, absl::OkStatus());
  }
  void Take(Stream& stream) {
    std::string piece(1 << 20, '\0');
    while (const size_t sent = stream.listener->OnSend(piece.data(), piece.size()))
      stream.body.append(piece, 0, sent);
    if (static_cast<int64_t>(stream.body.size()) < stream.request.body_size) return;
    {
      MutexLock lock(mu_);
      stored_ = stream.body;
    }
    HttpResponse head;
    head.code = 200;
    stream.listener->OnHead(head);
    End(stream, absl::OkStatus());
  }

  const std::string weights_;
  mutable Mutex mu_;
  std::string stored_ ABSL_GUARDED_BY(mu_);
  int cancelled_ ABSL_GUARDED_BY(mu_) = 0;
  Worker worker_{"storage"};
};

// How a call ended for the gateway.
class Ending {
 public:
  void Note(const absl::Status& status, double messages) {
    MutexLock lock(mu_);
    EXPECT_FALSE(ended_) << "told twice";
    ended_ = {status, messages};
    changed_.NotifyAll();
  }
  std::pair<absl::Status, double> Wait() {
    MutexLock lock(mu_);
    while (!ended_) changed_.Wait(mu_);
    return *ended_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::optional<std::pair<absl::Status, double>> ended_ ABSL_GUARDED_BY(mu_);
};

// What both directions need of a server, which serves one method of `Service` and nothing else.
template <typename Service>
class TransferServer {
 public:
  explicit TransferServer(HttpStreamer& storage) : transfers{{}, segmind, storage, clock, metrics} {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service);
    queues = std::make_unique<CallQueues>(builder, 1);
    server_ = builder.BuildAndStart();
  }
  // Once the method is accepted.
  void Start() {
    queues->Start();
    stub = pb::FineTuneService::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials()));
  }
  void Stop() {
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(20));
    queues->Shutdown();
  }
  // An admitted call, until it has ended.
  std::shared_ptr<LastingCall> Admit(grpc::ServerContext& context) {
    auto call = std::make_shared<LastingCall>("a transfer", Role::kViewer, context, context.peer(),
                                              door.Anybody());
    lasting.Add(call, absl::InfiniteFuture(), lasting.judgements());
    MutexLock lock(mu_);
    admitted_ = call;
    changed_.NotifyAll();
    return call;
  }
  void Ended() {
    std::shared_ptr<LastingCall> call;
    {
      MutexLock lock(mu_);
      call = std::move(admitted_);
    }
    if (call != nullptr) lasting.Remove(call);
  }
  void AwaitAdmitted() {
    MutexLock lock(mu_);
    while (admitted_ == nullptr) changed_.Wait(mu_);
  }
  // Its caller may not make it any longer.
  void Revoke() {
    door.closed = true;
    lasting.JudgeAll();
  }

  // Whoever calls is one caller, who may be refused from some moment on.
  struct Door : Authenticator {
    static std::shared_ptr<const Caller> Anybody() {
      return std::make_shared<const Caller>(Caller{"alice", Role::kAdmin, true, {}, {}});
    }
    absl::StatusOr<Admission> Authenticate(const grpc::ServerContextBase&, absl::Time) override {
      if (closed) return absl::UnauthenticatedError("gone");
      return Admission{Anybody()};
    }
    std::atomic<bool> closed = false;
  };

  ManualClock clock;
  Door door;
  LastingCalls lasting{door, clock};
  FakeHttpClient http;
  FakeKeySource key{{"key"}};
  Metrics metrics;
  SegmindClient segmind{{}, http, key, clock, metrics};
  Transfers transfers;
  Service service;
  std::unique_ptr<CallQueues> queues;
  std::unique_ptr<pb::FineTuneService::Stub> stub;

 private:
  int port_ = 0;
  Mutex mu_;
  CondVar changed_;
  std::shared_ptr<LastingCall> admitted_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<grpc::Server> server_;
};

// A context with a deadline that only a hang reaches.
inline std::unique_ptr<grpc::ClientContext> PatientContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  return context;
}

}  // namespace finetune
