#include "server/base/fair_share.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {
namespace {

constexpr size_t kMostLabels = 100;

absl::Status Overloaded(Share share, absl::Duration retry_after) {
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::OVERLOADED,
               absl::StrCat("too much at once (", std::string(NameOf(share)), "); try again later"))
      .Metadata("metric", NameOf(share))
      .RetryAfter(retry_after);
}

}  // namespace

std::string_view NameOf(Share share) {
  constexpr std::string_view kNames[kShares] = {"calls",          "waits",        "watchers",
                                                "transfers",      "answer_bytes", "scans",
                                                "dataset_checks", "watch_terms"};
  return kNames[static_cast<int>(share)];
}

ShareRefusals::ShareRefusals(std::string_view share, Metrics& metrics)
    : by_label_(kMostLabels, [share = std::string(share), &metrics](const std::string& label) {
        return &metrics.Counter("finetune_gateway_share_refusals_total",
                                "What callers were refused because too much of it was in use, by "
                                "them or by all.",
                                {{"share", share}, {"caller", label}});
      }) {}

prometheus::Counter& ShareRefusals::Of(const std::string& label) {
  MutexLock lock(mu_);
  return *by_label_.Of(label);
}

FairShare::Limits FairShare::Limits::Of(int64_t total, int64_t reserved) {
  return {.total = total, .reserve = total / reserved, .each = std::max<int64_t>(total / 8, 1)};
}

FairShare::Slot& FairShare::Slot::operator=(Slot&& other) noexcept {
  if (this == &other) return *this;
  Release();
  share_ = std::exchange(other.share_, nullptr);
  sharer_ = other.sharer_;
  amount_ = other.amount_;
  return *this;
}

void FairShare::Slot::Release() {
  if (share_ != nullptr) std::exchange(share_, nullptr)->GiveBack(*sharer_, amount_);
}

FairShare::FairShare(Share share, Limits limits, Metrics& metrics)
    : share_(share),
      limits_(limits),
      overloaded_(Overloaded(share, limits.retry_after)),
      refusals_(NameOf(share), metrics) {}

absl::StatusOr<FairShare::Slot> FairShare::Take(Sharer& sharer, int64_t amount,
                                                std::optional<int64_t> own) {
  const uint32_t bit = uint32_t{1} << static_cast<int>(share_);
  if ((sharer.known_.load(std::memory_order_relaxed) & bit) == 0) {
    refusals_.Know(sharer);
    sharer.known_ |= bit;
  }
  const int64_t used = used_.fetch_add(amount, std::memory_order_relaxed) + amount;
  const int64_t held =
      sharer.held_[static_cast<int>(share_)].fetch_add(amount, std::memory_order_relaxed) + amount;
  absl::Status refusal = WhyNot(sharer, used, held, amount, own);
  if (refusal.ok()) return Slot(*this, sharer, amount);
  GiveBack(sharer, amount);
  refusals_.Count(sharer);
  return refusal;
}

absl::Status FairShare::WhyNot(Sharer& sharer, int64_t used, int64_t held, int64_t amount,
                               std::optional<int64_t> own) const {
  const auto beyond = [&](int64_t limit) {
    return sharer.refusals_[static_cast<int>(share_)].Get(sharer.name(), NameOf(share_),
                                                          absl::StrCat(limit), limits_.retry_after);
  };
  if (own && held > *own) return beyond(*own);
  if (used > limits_.total && used > amount) return overloaded_;
  const bool scarce = used > limits_.total - limits_.reserve;
  if (!own && scarce && held > std::max(limits_.each, amount)) return beyond(limits_.each);
  return absl::OkStatus();
}

void FairShare::GiveBack(Sharer& sharer, int64_t amount) {
  sharer.held_[static_cast<int>(share_)].fetch_sub(amount, std::memory_order_relaxed);
  used_.fetch_sub(amount, std::memory_order_relaxed);
}

}  // namespace finetune
