#include "tests/emulator/wire_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace finetune::emulator {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

// Of `text`, over and over, at least so much is sent at once.
constexpr size_t kWriteSize = 64 << 10;

// False: the other side has gone, the time is over, or nobody wants more.
bool Send(int fd, std::string_view bytes, Deadline deadline, const std::atomic<bool>& stopping) {
  while (!bytes.empty()) {
    if (stopping || std::chrono::steady_clock::now() > deadline) return false;
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(sent);
      continue;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return false;
    pollfd item{fd, POLLOUT, 0};
    poll(&item, 1, 100);
  }
  return true;
}

}  // namespace

void WireWriter::Play(int fd, std::shared_ptr<const WireScript> script,
                      std::function<void()> done) {
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  MutexLock lock(&mu_);
  if (own < 0 || stopping_) {
    if (own >= 0) close(own);
    done();
    return;
  }
  for (auto it = running_.begin(); it != running_.end();) {
    if (!it->ended) {
      ++it;
      continue;
    }
    it->thread.join();
    it = running_.erase(it);
  }
  Running* running = &running_.emplace_back();
  running->thread =
      std::thread([this, own, running, script = std::move(script), done = std::move(done)] {
        Write(own, *script);
        close(own);
        done();
        running->ended = true;
      });
}

void WireWriter::Stop() {
  stopping_ = true;
  MutexLock lock(&mu_);
  for (Running& running : running_) running.thread.join();
  running_.clear();
}

void WireWriter::Write(int fd, const WireScript& script) const {
  const Deadline deadline = std::chrono::steady_clock::now() + script.longest;
  if (!Send(fd, script.head, deadline, stopping_)) return;
  std::string block = script.repeat;
  while (!block.empty() && block.size() < kWriteSize) block += script.repeat;
  for (uint64_t left = block.empty() ? 0 : script.repeat_bytes; left > 0;) {
    const size_t part = std::min<uint64_t>(left, block.size());
    if (!Send(fd, std::string_view(block).substr(0, part), deadline, stopping_)) return;
    left -= part;
  }
  Send(fd, script.tail, deadline, stopping_);
}

}  // namespace finetune::emulator
