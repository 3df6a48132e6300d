#include "server/segmind/account_credits.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "server/base/micros.h"

namespace finetune {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace

AccountCredits::AccountCredits(absl::Duration good_for, Metrics& metrics)
    : good_for_(good_for),
      credits_(metrics.Gauge("finetune_gateway_credits",
                             "What Segmind's account has left; NaN while that is unknown.")),
      age_(metrics.Gauge("finetune_gateway_credits_age_seconds",
                         "Since Segmind said what its account has left; NaN if it has not.")) {
  credits_.Set(kUnknown);
  age_.Set(kUnknown);
}

void AccountCredits::Note(int64_t micros, absl::Time time) {
  MutexLock lock(mu_);
  if (!told_ || told_->time <= time) told_ = {micros, time};
}

void AccountCredits::NoteHeader(std::string_view text, absl::Time time) {
  double amount = 0;
  if (!absl::SimpleAtod(absl::StripAsciiWhitespace({text.data(), text.size()}), &amount)) return;
  if (const auto micros = MicrosOf(amount)) Note(*micros, time);
}

std::optional<AccountCredits::Told> AccountCredits::At(absl::Time now) const {
  MutexLock lock(mu_);
  if (!told_ || now - told_->time > good_for_) return std::nullopt;
  return told_;
}

void AccountCredits::UpdateMetrics(absl::Time now) {
  const std::optional<Told> told = At(now);
  credits_.Set(told ? static_cast<double>(told->micros) / 1e6 : kUnknown);
  MutexLock lock(mu_);
  age_.Set(told_ ? absl::ToDoubleSeconds(now - told_->time) : kUnknown);
}

}  // namespace finetune
