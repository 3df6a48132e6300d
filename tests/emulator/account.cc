#include "tests/emulator/account.h"

#include "absl/strings/match.h"
#include "tests/emulator/times.h"

namespace finetune::emulator {

Account::Account(const LiveSettings* settings)
    : settings_(settings), credits_(settings->Get()->credits) {}

std::optional<Answer> Account::Refuse(const Request& request) {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  std::optional<std::string> key = request.Header("x-api-key");
  if (!key) {
    key = request.Header("authorization");
    if (key && absl::StartsWithIgnoreCase(*key, "Bearer ")) key = key->substr(7);
  }
  if (!key) return ErrorAnswer(401, "Missing Authorization or x-api-key in header");
  const bool old = !settings->old_api_key.empty() && *key == settings->old_api_key;
  if (*key != settings->api_key && !old) {
    return ErrorAnswer(401, "Unauthorized. API key is invalid or may have expired...");
  }
  if (settings->rate_limit_per_minute == 0) return std::nullopt;
  const auto now = std::chrono::system_clock::now();
  MutexLock lock(&mu_);
  if (now >= window_end_) {
    window_end_ = now + std::chrono::minutes(1);
    calls_in_window_ = 0;
  }
  if (++calls_in_window_ <= settings->rate_limit_per_minute) return std::nullopt;
  Answer answer = ErrorAnswer(429, "Rate limit exceeded. Please try again later");
  // Rounded up, so that whoever obeys it is not refused again.
  const auto reset =
      std::chrono::ceil<std::chrono::seconds>(Shifted(window_end_, settings->date_offset_seconds));
  answer.headers.emplace_back("x-rate-limit-reset-at-utc",
                              settings->rate_limit_reset_format == "epoch"
                                  ? std::to_string(reset.time_since_epoch().count())
                                  : TimeText(reset, false));
  return answer;
}

bool Account::Pay() {
  const double price = settings_->Get()->price_per_job;
  MutexLock lock(&mu_);
  if (credits_ < price) return false;
  credits_ -= price;
  return true;
}

double Account::credits() const {
  MutexLock lock(&mu_);
  return credits_;
}

void Account::SetCredits(double credits) {
  MutexLock lock(&mu_);
  credits_ = credits;
}

void Account::Reset() {
  MutexLock lock(&mu_);
  calls_in_window_ = 0;
  window_end_ = {};
}

}  // namespace finetune::emulator
