#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/bounded_labels.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/quota.h"

namespace finetune {

// What all callers share, and one of them could use up.
enum class Share {
  kCalls,        // Unary calls under way, waits not counted, until their answers are taken.
  kWaits,        // WaitFineTune.
  kWatches,      // Watch streams.
  kTransfers,    // Datasets and weights on the way, and looks at a dataset's URL.
  kAnswerBytes,  // Of unary answers that gRPC has and the client has yet to take.
  kScans,        // Comparisons, in thousands, of lists that wait or are made.
  kChecks,       // Looks at a dataset's URL.
  kWatchTerms,   // What open watches ask for: names, and comparisons that each change takes.
};
inline constexpr int kShares = 8;

// As in QuotaUse.metric and in metrics.
std::string_view NameOf(Share share);

// One of those who share: a caller of the policy or, where nobody is told apart, the machine that
// calls. Knows what it holds of everything. Thread-safe; outlives the slots that it holds.
class Sharer {
 public:
  // `name`: in errors. `label`: in metrics; `other` stands for all that the policy does not name.
  explicit Sharer(std::string name, std::string label = "other")
      : name_(std::move(name)), label_(std::move(label)) {}
  Sharer(const Sharer&) = delete;
  Sharer& operator=(const Sharer&) = delete;

  const std::string& name() const { return name_; }
  const std::string& label() const { return label_; }
  int64_t held(Share share) const {
    return held_[static_cast<int>(share)].load(std::memory_order_relaxed);
  }

 private:
  friend class FairShare;

  const std::string name_;
  const std::string label_;
  std::array<std::atomic<int64_t>, kShares> held_{};
  // A bit for each share of which it was ever given something.
  std::atomic<uint32_t> known_ = 0;
  // By share.
  std::array<ReadyQuotaRefusal, kShares> refusals_;
};

// Refusals by what was refused and to whom: the series of a sharer is there, at 0, once it has used
// what is shared. At most 100 labels; the rest are `other`. Thread-safe.
class ShareRefusals {
 public:
  ShareRefusals(std::string_view share, Metrics& metrics);

  void Know(const Sharer& sharer) ABSL_LOCKS_EXCLUDED(mu_) { Of(sharer.label()); }
  void Count(const Sharer& sharer) ABSL_LOCKS_EXCLUDED(mu_) { Of(sharer.label()).Increment(); }

 private:
  prometheus::Counter& Of(const std::string& label) ABSL_LOCKS_EXCLUDED(mu_);

  Mutex mu_;
  BoundedLabels<prometheus::Counter*> by_label_ ABSL_GUARDED_BY(mu_);
};

// A shared thing: bounded for the process, and fair. While more than the reserve is free, whoever
// asks is given what it asks for; after that only those who hold less than their share are. Whoever
// has a limit of its own is held to that instead. A few atomics a slot. Thread-safe; outlives its
// slots.
class FairShare {
 public:
  struct Limits {
    int64_t total = 0;
    // What is kept for those who hold less than their share.
    int64_t reserve = 0;
    // That share.
    int64_t each = 0;
    absl::Duration retry_after = absl::Seconds(1);

    // The usual proportions: a lone caller may have all but `1 / reserved` of it, and when others
    // come too, an eighth of it is sure to be everybody's own.
    static Limits Of(int64_t total, int64_t reserved = 4);
  };

  // What a sharer holds; given back when this goes.
  class Slot {
   public:
    Slot() = default;
    Slot(Slot&& other) noexcept { *this = std::move(other); }
    Slot& operator=(Slot&& other) noexcept;
    ~Slot() { Release(); }

    explicit operator bool() const { return share_ != nullptr; }
    void Release();

   private:
    friend class FairShare;
    Slot(FairShare& share, Sharer& sharer, int64_t amount)
        : share_(&share), sharer_(&sharer), amount_(amount) {}

    FairShare* share_ = nullptr;
    Sharer* sharer_ = nullptr;
    int64_t amount_ = 0;
  };

  FairShare(Share share, Limits limits, Metrics& metrics);

  // RESOURCE_EXHAUSTED with RetryInfo: CLIENT_QUOTA_EXCEEDED beyond the sharer's share or `own`
  // limit, OVERLOADED where nothing is left for anybody. A single piece that is larger than a share
  // is given to whoever holds nothing.
  absl::StatusOr<Slot> Take(Sharer& sharer, int64_t amount = 1,
                            std::optional<int64_t> own = std::nullopt);

  int64_t used() const { return used_.load(std::memory_order_relaxed); }
  const Limits& limits() const { return limits_; }

 private:
  void GiveBack(Sharer& sharer, int64_t amount);
  absl::Status WhyNot(Sharer& sharer, int64_t used, int64_t held, int64_t amount,
                      std::optional<int64_t> own) const;

  // Constant after construction.
  const Share share_;
  const Limits limits_;
  const absl::Status overloaded_;

  ShareRefusals refusals_;
  std::atomic<int64_t> used_ = 0;
};

}  // namespace finetune
