#pragma once

namespace finetune {

// What the tag of a gRPC operation points to: hears how the operation ended. Lives until then;
// called on a thread that reads completion queues.
class QueueEvent {
 public:
  // `ok` is false if the operation did not happen.
  virtual void OnEvent(bool ok) = 0;

 protected:
  ~QueueEvent() = default;
};

}  // namespace finetune
