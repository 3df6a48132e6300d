#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/secret.h"

namespace finetune {

// The secrets in the webhook's URL: one a line in a file, any of which is valid, so that one can
// be replaced while the other still works. Reread when the file changes; a file that is then bad
// is logged and the old tokens stay. Thread-safe.
class WebhookTokens {
 public:
  // INVALID_ARGUMENT, in one sentence, if the file cannot be read, is empty, or has a token that is
  // shorter than 128 bits take (22 characters) or does not fit into a URL. An empty path: no token
  // is valid.
  static absl::StatusOr<std::unique_ptr<WebhookTokens>> Open(std::string path, Clock& clock);

  // In time that does not depend on how much of it is right.
  bool Accepts(std::string_view token) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Stamp {
    int64_t modified_ns = 0;
    uint64_t inode = 0;
    int64_t size = 0;
    bool operator==(const Stamp&) const = default;
  };

  WebhookTokens(std::string path, Clock& clock) : path_(std::move(path)), clock_(clock) {}
  static Stamp StampOf(const std::string& path);
  static absl::StatusOr<std::vector<Secret>> Read(const std::string& path);
  void RereadIfChanged() ABSL_LOCKS_EXCLUDED(mu_);

  const std::string path_;
  Clock& clock_;

  Mutex mu_;
  std::vector<Secret> tokens_ ABSL_GUARDED_BY(mu_);
  Stamp stamp_ ABSL_GUARDED_BY(mu_);
  absl::Time next_look_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

}  // namespace finetune
