#include "server/web/webhook_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

// 22 characters of base64 hold 128 bits.
constexpr size_t kLeastLength = 22;

bool FitsIntoUrl(absl::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-_.~", c);
  });
}

absl::StatusOr<std::vector<Secret>> ReadTokens(absl::string_view text, const std::string& path) {
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

}  // namespace

absl::StatusOr<std::unique_ptr<WebhookTokens>> WebhookTokens::Open(const std::string& path,
                                                                   FileRereader& rereader) {
  std::unique_ptr<WebhookTokens> made(new WebhookTokens);
  if (path.empty()) return made;
  made->files_ = rereader.Add("webhook_tokens", [self = made.get(), path](RereadFiles::Read read) {
    return self->Take(path, read);
  });
  RETURN_IF_ERROR(made->files_->Open());
  return made;
}

WebhookTokens::~WebhookTokens() {
  if (files_) files_->Stop();
}

absl::Status WebhookTokens::Take(const std::string& path, RereadFiles::Read read) {
  ASSIGN_OR_RETURN(std::string text, read(path));
  const Secret wiped(std::move(text));
  ASSIGN_OR_RETURN(std::vector<Secret> tokens, ReadTokens(wiped.Reveal(), path));
  MutexLock lock(mu_);
  tokens_ = std::move(tokens);
  return absl::OkStatus();
}

bool WebhookTokens::Accepts(std::string_view token) const {
  MutexLock lock(mu_);
  bool accepted = false;
  for (const Secret& valid : tokens_) accepted |= valid.Equals(token);
  return accepted;
}

}  // namespace finetune
