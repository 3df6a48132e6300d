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

// The things that all callers share and that one of them could use up.
enum class Share {
  kCalls,        // Unary calls under way, except waits, until their answers are taken.
  kWaits,        // WaitFineTune.
  kWatches,      // Watch streams.
  kTransfers,    // Datasets and weights on the way, and checks of a dataset's URL.
  kAnswerBytes,  // Bytes of unary answers that gRPC has and the client has yet to take.
  kScans,        // Comparisons, in thousands, for lists that are waiting or being made.
  kChecks,       // Checks of a dataset's URL.
  kWatchTerms,   // What open watches ask for: names, and comparisons for each change.
};
inline constexpr int kShares = 8;

// As in QuotaUse.metric and in metrics.
std::string_view NameOf(Share share);

// One of those who share: a caller named in the policy or, where callers are not told apart, the
// machine that calls. Knows what it holds of each thing. Thread-safe; outlives the slots that it
// holds.
class Sharer {
 public:
  // `name` is for errors, `label` for metrics: `other` for all whom the policy does not name.
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
  // A bit for each thing that it was ever given some of.
  std::atomic<uint32_t> known_ = 0;
  // By share.
  std::array<ReadyQuotaRefusal, kShares> refusals_;
};

// Counts the refusals of one shared thing by sharer. The series of a sharer exists, at 0, once it
// has used the thing. At most 100 labels; the rest are `other`. Thread-safe.
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

// One shared thing: bounded for the process, and fair. While more than the reserve is free, every
// sharer gets what it asks for; after that, only those that hold less than their share do. A sharer
// that has a limit of its own is held to that instead. Costs a few atomics a slot. Thread-safe;
// outlives its slots.
class FairShare {
 public:
  struct Limits {
    int64_t total = 0;
    // What is kept for those that hold less than their share.
    int64_t reserve = 0;
    // The share of each.
    int64_t each = 0;
    absl::Duration retry_after = absl::Seconds(1);

    // The usual proportions: a lone caller may have all but `1 / reserved` of the total, and when
    // others come, an eighth of the total is the share of each.
    static Limits Of(int64_t total, int64_t reserved = 4);
  };

  // What a sharer holds; given back when this is destroyed.
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

  // RESOURCE_EXHAUSTED with RetryInfo: CLIENT_QUOTA_EXCEEDED beyond the sharer's share or its `own`
  // limit, OVERLOADED if nothing is left for anybody. A sharer that holds nothing gets even a
  // single piece that is larger than its share.
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
