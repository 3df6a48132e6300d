#pragma once

#include <array>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "server/base/metrics.h"

namespace finetune {

// The counters of one method, under the names of go-grpc-middleware, all there from the start.
// Thread-safe.
class MethodMetrics {
 public:
  MethodMetrics(Metrics& metrics, const google::protobuf::MethodDescriptor& method);
  // For methods that no service has, all together.
  explicit MethodMetrics(Metrics& metrics);

  void OnStarted() { started_->Increment(); }
  void OnReceived(double messages) { received_->Increment(messages); }
  void OnSent(double messages = 1) { sent_->Increment(messages); }
  // Latencies leave out streams: how long they last says nothing.
  void OnHandled(absl::StatusCode code, absl::Duration took);

 private:
  void Register(Metrics& metrics, const Metrics::Labels& labels, bool unary);

  static constexpr int kCodes = 17;
  prometheus::Counter* started_ = nullptr;
  prometheus::Counter* received_ = nullptr;
  prometheus::Counter* sent_ = nullptr;
  prometheus::Histogram* seconds_ = nullptr;
  std::array<prometheus::Counter*, kCodes> handled_{};
};

}  // namespace finetune
