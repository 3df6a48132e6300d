#include "server/web/webhook_tokens.h"

#include <sys/stat.h>

#include <algorithm>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/log.h"
#include "server/base/read_file.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

// 22 characters of base64 hold 128 bits.
constexpr size_t kLeastLength = 22;
constexpr absl::Duration kLookInterval = absl::Seconds(1);

bool FitsIntoUrl(absl::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-_.~", c);
  });
}

}  // namespace

WebhookTokens::Stamp WebhookTokens::StampOf(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  return {info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec, info.st_ino, info.st_size};
}

absl::StatusOr<std::vector<Secret>> WebhookTokens::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<Secret> tokens;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    if (line.size() < kLeastLength)
      return absl::InvalidArgumentError(
          absl::StrCat("a token in '", path, "' has fewer than ", kLeastLength,
                       " characters, which 128 bits need (make one with `openssl rand -hex 16`)"));
    if (!FitsIntoUrl(line))
      return absl::InvalidArgumentError(absl::StrCat(
          "a token in '", path, "' has characters other than letters, digits and -_.~"));
    tokens.emplace_back(std::string(line));
  }
  if (tokens.empty())
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' holds no token"));
  return tokens;
}

absl::StatusOr<std::unique_ptr<WebhookTokens>> WebhookTokens::Open(std::string path, Clock& clock) {
  std::unique_ptr<WebhookTokens> made(new WebhookTokens(std::move(path), clock));
  if (made->path_.empty()) return made;
  MutexLock lock(made->mu_);
  made->stamp_ = StampOf(made->path_);
  ASSIGN_OR_RETURN(made->tokens_, Read(made->path_));
  return made;
}

void WebhookTokens::RereadIfChanged() {
  if (path_.empty()) return;
  absl::Status failure;
  {
    MutexLock lock(mu_);
    const absl::Time now = clock_.Now();
    if (now < next_look_) return;
    next_look_ = now + kLookInterval;
    const Stamp stamp = StampOf(path_);
    if (stamp == stamp_) return;
    stamp_ = stamp;
    auto tokens = Read(path_);
    failure = tokens.status();
    if (tokens.ok()) tokens_ = *std::move(tokens);
  }
  if (failure.ok())
    Log(LogLevel::kInfo, "webhook tokens reread", {{"file", path_}});
  else
    Log(LogLevel::kError, "webhook tokens kept, the changed file is bad",
        {{"error", std::string(failure.message())}});
}

bool WebhookTokens::Accepts(std::string_view token) {
  RereadIfChanged();
  MutexLock lock(mu_);
  bool accepted = false;
  for (const Secret& valid : tokens_) accepted |= valid.Equals(token);
  return accepted;
}

}  // namespace finetune
