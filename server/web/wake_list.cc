#include "server/web/wake_list.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace finetune {

class WakeList::Outlet : public WebOutlet {
 public:
  Outlet(std::shared_ptr<WakeList> list, int socket, uint64_t connection)
      : list_(std::move(list)), socket_(socket), connection_(connection) {}

  void Wake() override { list_->Add({socket_, connection_, /*cut=*/false}); }
  void Cut() override { list_->Add({socket_, connection_, /*cut=*/true}); }

 private:
  const std::shared_ptr<WakeList> list_;
  const int socket_;
  const uint64_t connection_;
};

WakeList::WakeList() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

WakeList::~WakeList() {
  if (fd_ >= 0) close(fd_);
}

std::shared_ptr<WebOutlet> WakeList::OutletOf(int socket, uint64_t connection) {
  return std::make_shared<Outlet>(shared_from_this(), socket, connection);
}

void WakeList::Add(Call call) {
  {
    MutexLock lock(mu_);
    calls_.push_back(call);
    if (calls_.size() > 1) return;  // The thread was told.
  }
  const uint64_t one = 1;
  if (write(fd_, &one, sizeof(one)) < 0) {
    // The counter is full, so the thread has been woken.
  }
}

std::vector<WakeList::Call> WakeList::Take() {
  uint64_t count = 0;
  if (read(fd_, &count, sizeof(count)) < 0) {
    // There was nothing new.
  }
  MutexLock lock(mu_);
  return std::exchange(calls_, {});
}

}  // namespace finetune
