#include "server/base/thread.h"

#include <pthread.h>

#include <utility>

namespace finetune {

Thread::Thread(std::string name, absl::AnyInvocable<void() &&> body)
    : thread_([name = std::move(name), body = std::move(body)]() mutable {
        pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
        std::move(body)();
      }),
      id_(thread_.get_id()) {}

Thread::~Thread() { Join(); }

void Thread::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace finetune
