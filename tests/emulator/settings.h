#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tests/emulator/json.h"
#include "tests/emulator/mutex.h"

namespace finetune::emulator {

// Everything that can be turned while the emulator runs. Times are in seconds of the job clock
// (which time_scale speeds up) where the name says stage, in real seconds elsewhere.
struct Settings {
  std::string api_key = "emulator-key";
  std::string old_api_key;  // Good as well, until it is revoked; empty: there is none.
  std::string public_url;   // What the URLs in answers begin with.

  double time_scale = 1;  // 0: jobs move only when the control door moves them.
  std::map<std::string, double> stage_seconds = {{"REQUESTED", 2},
                                                 {"QUEUED", 20},
                                                 {"RETRIED", 5},
                                                 {"DATA_PROCESSING", 30},
                                                 {"TRAINING_INITIATED", 600},
                                                 {"TRAINING_COMPLETED", 20},
                                                 {"INFERENCE_QUEUED", 30},
                                                 {"DEPLOYING", 60}};  // 0: the stage is skipped.
  bool check_datasets = true;  // false: any data_source_path is good, nothing is fetched.

  std::string webhook_url;
  std::string webhook_vocabulary = "webhook";  // Five events; or "model": three.
  std::string webhook_shape = "flat";          // Or "nested", "request_id".
  int64_t webhook_attempts = 1;

  double credits = 1000000;
  double price_per_job = 1;
  int64_t no_credits_code = 406;                    // What a submit answers that cannot be paid.
  bool credits_header = true;                       // Answers have x-remaining-credits.
  int64_t rate_limit_per_minute = 0;                // 0: none.
  std::string rate_limit_reset_format = "rfc3339";  // Or "epoch".

  bool distinct_ids = false;  // `id` and `finetune_id` differ.
  std::string name_mangling;  // What becomes of submitted names; names.h has the rules.

  bool timestamp_fraction = false;           // 2025-01-01T00:00:00.123456Z: rfc3339 with micros.
  std::string timestamp_format = "rfc3339";  // One of TimestampFormats().
  bool list_timestamps = false;              // List items have created_ts and updated_ts, too.
  double clock_offset_seconds = 0;           // How far the jobs' times are ahead of this machine's.
  double date_offset_seconds = 0;  // The same of the Date header and of rate limits' ends.
  bool date_header = true;

  std::string list_order = "newest";   // Which job comes first; or "oldest".
  int64_t list_page_size = 0;          // 0: the whole list at once.
  std::string list_paging = "silent";  // How a page tells of the others: one of PagingStyles().
  bool list_cloud_storage_url = true;
  std::string access_update_answer = "200";  // Or "empty", "json".

  int64_t weights_bytes = 4 << 20;
  int64_t weights_redirects = 1;
  std::string private_weights = "model";  // All but FAST_FLUX's; or "all", "none".
  std::string sign_urls;                  // Storage URLs of jobs are signed so; empty: not at all.
  int64_t upload_url_seconds = 3600;
  int64_t download_url_seconds = 3600;
};

// Sets the members that `object` names. Returns what is wrong with it, or nothing. On an error
// `settings` may be partly changed.
std::optional<std::string> ApplySettings(const rapidjson::Value& object, Settings* settings);

// The same from NAME=VALUE, where VALUE is JSON or, for strings, the text itself.
std::optional<std::string> SetByText(std::string_view text, Settings* settings);

// What is wrong with it as a webhook's URL, or nothing. Empty is good: there is no webhook.
std::optional<std::string> CheckWebhookUrl(std::string_view url);

std::string SettingsText(const Settings& settings);

// The settings in force. Thread-safe. Owned by main; outlives all who read it.
class LiveSettings {
 public:
  explicit LiveSettings(Settings settings)
      : current_(std::make_shared<const Settings>(std::move(settings))) {}

  std::shared_ptr<const Settings> Get() const {
    MutexLock lock(&mu_);
    return current_;
  }
  void Set(Settings settings) {
    auto next = std::make_shared<const Settings>(std::move(settings));
    MutexLock lock(&mu_);
    current_ = std::move(next);
  }

 private:
  mutable Mutex mu_;
  // Guarded by mu_.
  std::shared_ptr<const Settings> current_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune::emulator
