#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/base/reread_files.h"
#include "server/base/secret.h"

namespace finetune {

// The secrets in the webhook's URL: one on each line of a file. Any of them is valid, so that one
// can be replaced while the other still works. Reread when the file changes. Thread-safe.
class WebhookTokens {
 public:
  // INVALID_ARGUMENT, in one sentence, if the file cannot be read, is empty, or has a token that is
  // shorter than 22 characters (128 bits) or cannot be part of a URL. With an empty path no token
  // is valid.
  static absl::StatusOr<std::unique_ptr<WebhookTokens>> Open(const std::string& path,
                                                             FileRereader& rereader);
  ~WebhookTokens();

  // Takes the same time however much of the token is right.
  bool Accepts(std::string_view token) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  WebhookTokens() = default;
  absl::Status Take(const std::string& path, RereadFiles::Read read) ABSL_LOCKS_EXCLUDED(mu_);

  std::shared_ptr<RereadFiles> files_;  // Null without a file.

  mutable Mutex mu_;
  std::vector<Secret> tokens_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
