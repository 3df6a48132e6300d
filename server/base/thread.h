#pragma once

#include <string>
#include <thread>

#include "absl/functional/any_invocable.h"

namespace finetune {

// A named thread (as `top -H` and debuggers show it; at most 15 characters), joined when it is
// destroyed at the latest.
class Thread {
 public:
  Thread(std::string name, absl::AnyInvocable<void() &&> body);
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  void Join();
  bool IsCurrent() const { return std::this_thread::get_id() == id_; }

 private:
  std::thread thread_;
  std::thread::id id_;
};

}  // namespace finetune
