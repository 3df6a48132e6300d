#include "server/base/line_writer.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

namespace finetune {
namespace {

// A pipe takes this much at a time.
constexpr size_t kMostAtOnce = 64 << 10;

void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      // Somebody else who uses the same terminal or pipe has made it non-blocking.
      pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace

LineWriter::LineWriter(int fd, size_t most_bytes, TellDropped tell_dropped)
    : fd_(fd),
      most_bytes_(most_bytes),
      tell_dropped_(std::move(tell_dropped)),
      thread_("log", [this] { Run(); }) {}

LineWriter::~LineWriter() {
  {
    MutexLock lock(mu_);
    ending_ = true;
  }
  appended_something_.NotifyAll();
  thread_.Join();
}

void LineWriter::Append(std::string line) {
  line += '\n';
  bool was_empty = false;
  {
    MutexLock lock(mu_);
    was_empty = lines_.empty();
    ++appended_;
    bytes_ += line.size();
    lines_.push_back(std::move(line));
    while (bytes_ > most_bytes_ && lines_.size() > 1) {
      bytes_ -= lines_.front().size();
      lines_.pop_front();
      ++taken_;
      ++dropped_;
    }
  }
  if (was_empty) appended_something_.NotifyOne();
}

void LineWriter::Flush(absl::Duration at_most) {
  MutexLock lock(mu_);
  const uint64_t wanted = appended_;
  while (finished_ < wanted) {
    if (!finished_something_.WaitFor(mu_, at_most)) return;
  }
}

std::string LineWriter::Take(uint64_t& dropped) {
  std::string taken;
  MutexLock lock(mu_);
  while (lines_.empty() && !ending_) appended_something_.Wait(mu_);
  while (!lines_.empty() && (taken.empty() || taken.size() + lines_.front().size() < kMostAtOnce)) {
    taken += lines_.front();
    bytes_ -= lines_.front().size();
    lines_.pop_front();
    ++taken_;
  }
  dropped = std::exchange(dropped_, 0);
  return taken;
}

void LineWriter::Run() {
  while (true) {
    uint64_t dropped = 0;
    const std::string taken = Take(dropped);
    if (taken.empty()) return;
    if (dropped > 0) WriteAll(fd_, tell_dropped_(dropped) + "\n");
    WriteAll(fd_, taken);
    {
      MutexLock lock(mu_);
      // Lines that were dropped meanwhile are older than those that are still to be taken.
      finished_ = taken_;
    }
    finished_something_.NotifyAll();
  }
}

}  // namespace finetune
