#include "server/segmind/api_key.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

constexpr size_t kMaxKey = 4096;

absl::Status NoKey(absl::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
               std::string_view(why.data(), why.size()));
}

// `where` says where the text comes from; the text itself is never shown.
absl::StatusOr<Secret> KeyIn(absl::string_view text, const std::string& where) {
  text = absl::StripAsciiWhitespace(text);
  if (text.empty()) return NoKey(absl::StrCat("there is no Segmind API key in ", where));
  if (text.size() > kMaxKey) return NoKey(absl::StrCat("what is in ", where, " is too long"));
  // The key is sent in a header.
  for (const unsigned char c : text) {
    if (c <= ' ' || c >= 0x7f)
      return NoKey(absl::StrCat("what is in ", where, " cannot be a Segmind API key"));
  }
  return Secret(std::string(text));
}

class FileKeySource : public ApiKeySource {
 public:
  FileKeySource(const std::string& path, FileRereader& rereader)
      : files_(rereader.Add("api_key",
                            [this, path](RereadFiles::Read read) { return Take(path, read); })) {}
  ~FileKeySource() override { files_->Stop(); }

  absl::Status Open() { return files_->Open(); }

  absl::StatusOr<Secret> Get() override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return key_;
  }

  bool Reread(const Secret& key) override ABSL_LOCKS_EXCLUDED(mu_) {
    files_->Look();
    MutexLock lock(mu_);
    return !(key_ == key);
  }

 private:
  absl::Status Take(const std::string& path, RereadFiles::Read read) ABSL_LOCKS_EXCLUDED(mu_) {
    auto text = read(path);
    if (!text.ok()) return NoKey(text.status().message());
    const Secret wiped(*std::move(text));
    ASSIGN_OR_RETURN(Secret key, KeyIn(wiped.Reveal(), absl::StrCat("the file ", path)));
    MutexLock lock(mu_);
    key_ = std::move(key);
    return absl::OkStatus();
  }

  Mutex mu_;
  Secret key_ ABSL_GUARDED_BY(mu_);
  const std::shared_ptr<RereadFiles> files_;
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

absl::StatusOr<std::unique_ptr<ApiKeySource>> MakeApiKeySource(const std::string& path,
                                                               FileRereader& rereader) {
  if (path.empty()) {
    const char* text = std::getenv("SEGMIND_API_KEY");
    if (text == nullptr)
      return NoKey("there is no Segmind API key: give --api_key_file or set SEGMIND_API_KEY");
    ASSIGN_OR_RETURN(Secret key, KeyIn(text, "SEGMIND_API_KEY"));
    return std::make_unique<FixedKeySource>(std::move(key));
  }
  auto source = std::make_unique<FileKeySource>(path, rereader);
  RETURN_IF_ERROR(source->Open());
  return source;
}

}  // namespace finetune
