#include "server/base/read_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

constexpr size_t kMostBytes = size_t{4} << 20;
constexpr int kPatienceMs = 10'000;
constexpr absl::string_view kByteOrderMark = "\xef\xbb\xbf";

// Waits for bytes or the end of a pipe. False if neither comes for a while.
bool WaitForMore(int file) {
  pollfd wanted = {.fd = file, .events = POLLIN, .revents = 0};
  return poll(&wanted, 1, kPatienceMs) > 0;
}

// Empty, or why the rest cannot be read.
std::string ReadToEnd(int file, std::string& text) {
  char block[8192];
  while (true) {
    const ssize_t got = read(file, block, sizeof(block));
    if (got == 0) return "";
    if (got > 0) {
      text.append(block, static_cast<size_t>(got));
      if (text.size() > kMostBytes)
        return absl::StrCat("it holds more than ", kMostBytes, " bytes");
    } else if (errno == EAGAIN) {
      if (!WaitForMore(file)) return "nothing comes out of the pipe";
    } else if (errno != EINTR) {
      return std::strerror(errno);
    }
  }
}

}  // namespace

absl::StatusOr<FileText> ReadFile(const std::string& path) {
  const auto fail = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read '", path, "': ", why));
  };
  // Without O_NONBLOCK opening a pipe that nobody writes to would block forever.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return fail(std::strerror(errno));
  const absl::Cleanup closer = [file] { close(file); };
  struct stat facts = {};
  if (fstat(file, &facts) != 0) return fail(std::strerror(errno));
  FileText read{.lasting = S_ISREG(facts.st_mode)};
  // Before its writer has opened it, a pipe looks as if it were at its end.
  if (S_ISFIFO(facts.st_mode) && !WaitForMore(file)) return fail("nothing comes out of the pipe");
  if (const std::string why = ReadToEnd(file, read.text); !why.empty()) return fail(why);
  if (absl::StartsWith(read.text, kByteOrderMark)) read.text.erase(0, kByteOrderMark.size());
  return read;
}

}  // namespace finetune
