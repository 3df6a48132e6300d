#pragma once

namespace finetune {

// The end of a gRPC operation: what its tag points to.
class QueueEvent {
 public:
  // `ok` false if the operation did not happen.
  virtual void OnEvent(bool ok) = 0;

 protected:
  ~QueueEvent() = default;
};

}  // namespace finetune
