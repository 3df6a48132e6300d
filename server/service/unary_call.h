#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "google/protobuf/message_lite.h"
#include "server/service/call_gate.h"

namespace finetune {

// One unary call: gRPC's reactor and what a handler sees of it. It owns itself. The handler answers
// exactly once, at once or later, on any thread, and does not touch it afterwards.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // Counts the call in and, unless it is refused (and then answered), reads the request and runs
  // `handler(Request, UnaryCall&)`. What it returns is for gRPC.
  template <typename Request, typename Handler>
  static grpc::ServerUnaryReactor* Start(CallGate& gate, Method method,
                                         grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* bytes, grpc::ByteBuffer* answer,
                                         Handler&& handler) {
    auto* call = new UnaryCall(gate, answer);
    Request request;
    if (absl::Status status = gate.Admit(method, context, call->call_); !status.ok()) {
      call->Fail(status);
    } else if (!Parse(*bytes, request)) {
      call->FailUnreadable();
    } else {
      handler(std::move(request), *call);
    }
    return call;
  }

  const Caller& caller() const { return *call_.caller; }
  absl::Time start() const { return call_.start; }
  absl::Time deadline() const { return call_.deadline; }
  absl::Time answer_by() const { return call_.answer_by(); }
  const TraceContext& trace() const { return call_.span.context(); }

  // For the log.
  void SetFineTune(std::string name) { call_.fine_tune = std::move(name); }
  // Runs once if the client goes or its deadline passes. Only while the handler runs for the first
  // time: gRPC tells of it after that.
  void OnCancelDo(absl::AnyInvocable<void() &&> action) { on_cancel_ = std::move(action); }

  void Reply(const google::protobuf::MessageLite& message);
  void ReplyBytes(grpc::ByteBuffer bytes);
  void Fail(const absl::Status& status);

 private:
  UnaryCall(CallGate& gate, grpc::ByteBuffer* answer) : gate_(gate), answer_(answer) {}
  static bool Parse(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);
  void FailUnreadable();
  void OnCancel() override {
    if (on_cancel_) std::move(on_cancel_)();
  }
  void OnDone() override { delete this; }

  CallGate& gate_;
  grpc::ByteBuffer* const answer_;
  Call call_;
  absl::AnyInvocable<void() &&> on_cancel_;
};

}  // namespace finetune
