#include "server/segmind/api_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr size_t kMaxKey = 4096;

absl::Status NoKey(const std::string& why) {
  return Error(absl::StatusCode::kFailedPrecondition, pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
               why);
}

// `where` says where the text comes from; the text itself is never shown.
absl::StatusOr<Secret> KeyIn(absl::string_view text, const std::string& where) {
  text = absl::StripAsciiWhitespace(text);
  if (text.empty()) return NoKey(absl::StrCat("there is no Segmind API key in ", where));
  // It is sent as a header.
  for (const unsigned char c : text) {
    if (c <= ' ' || c >= 0x7f)
      return NoKey(absl::StrCat("what is in ", where, " cannot be a Segmind API key"));
  }
  return Secret(std::string(text));
}

// What tells one content of a file from another without reading it.
struct Stamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  timespec modified = {};

  bool operator==(const Stamp& other) const {
    return device == other.device && inode == other.inode && size == other.size &&
           modified.tv_sec == other.modified.tv_sec && modified.tv_nsec == other.modified.tv_nsec;
  }
};

std::optional<Stamp> StampOf(const std::string& path) {
  struct stat facts;
  if (stat(path.c_str(), &facts) != 0) return std::nullopt;
  return Stamp{facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtim};
}

absl::StatusOr<Secret> ReadKey(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return NoKey(absl::StrCat("the API key file ", path, " cannot be read: ", strerror(errno)));
  Secret text(std::string(kMaxKey + 1, '\0'));  // Wiped when it goes.
  std::string& buffer = const_cast<std::string&>(text.Reveal());
  size_t size = 0;
  ssize_t got = 0;
  while (size < buffer.size() &&
         (got = read(fd, buffer.data() + size, buffer.size() - size)) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    size += static_cast<size_t>(got);
  }
  const int error = errno;
  close(fd);
  if (got < 0)
    return NoKey(absl::StrCat("the API key file ", path, " cannot be read: ", strerror(error)));
  if (size > kMaxKey) return NoKey(absl::StrCat("the API key file ", path, " is too long"));
  return KeyIn(absl::string_view(buffer.data(), size), absl::StrCat("the file ", path));
}

class FileKeySource : public ApiKeySource {
 public:
  explicit FileKeySource(std::string path) : path_(std::move(path)) {}

  absl::StatusOr<Secret> Get() override ABSL_LOCKS_EXCLUDED(mu_) {
    const std::optional<Stamp> stamp = StampOf(path_);
    MutexLock lock(mu_);
    if (!key_.empty() && (!stamp || *stamp == stamp_)) return key_;
    return ReadLocked(stamp);
  }

  bool Reread(const Secret& key) override ABSL_LOCKS_EXCLUDED(mu_) {
    const std::optional<Stamp> stamp = StampOf(path_);
    MutexLock lock(mu_);
    ReadLocked(stamp).IgnoreError();
    return !key_.empty() && !(key_ == key);
  }

 private:
  // The new key, or else the last one.
  absl::StatusOr<Secret> ReadLocked(const std::optional<Stamp>& stamp)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    absl::StatusOr<Secret> read = ReadKey(path_);
    if (read.ok()) {
      key_ = *read;
      stamp_ = stamp.value_or(Stamp());
    } else if (!key_.empty()) {
      return key_;
    }
    return read;
  }

  const std::string path_;
  Mutex mu_;
  Secret key_ ABSL_GUARDED_BY(mu_);
  Stamp stamp_ ABSL_GUARDED_BY(mu_);
};

class FixedKeySource : public ApiKeySource {
 public:
  explicit FixedKeySource(Secret key) : key_(std::move(key)) {}
  absl::StatusOr<Secret> Get() override { return key_; }
  bool Reread(const Secret& key) override { return !(key_ == key); }

 private:
  const Secret key_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ApiKeySource>> MakeApiKeySource(const std::string& path) {
  if (path.empty()) {
    const char* text = std::getenv("SEGMIND_API_KEY");
    if (text == nullptr)
      return NoKey("there is no Segmind API key: give --api_key_file or set SEGMIND_API_KEY");
    ASSIGN_OR_RETURN(Secret key, KeyIn(text, "SEGMIND_API_KEY"));
    return std::make_unique<FixedKeySource>(std::move(key));
  }
  auto source = std::make_unique<FileKeySource>(path);
  RETURN_IF_ERROR(source->Get().status());
  return source;
}

}  // namespace finetune
