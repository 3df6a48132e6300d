#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace finetune {

// The calls that an account allows in a minute, where several processes make them: what they share
// grants each call. Thread-safe.
class CallBudget {
 public:
  // A call that was granted to one of the processes. `time` is steady, and no earlier than the
  // call.
  struct Call {
    uint64_t id = 0;
    absl::Time time;
    int kind = 0;
  };
  // What all of them have used, and whether they may call at all.
  struct Picture {
    std::vector<Call> calls;                       // Of the last minute, oldest first.
    absl::Time hold_until = absl::InfinitePast();  // Steady; see HoldUntil.
  };
  struct Answer {
    // The call's id if it is granted; it must then be made at once.
    std::optional<uint64_t> granted;
    Picture picture;  // Includes that call.
  };
  // UNAVAILABLE / STORE_UNAVAILABLE if what is shared cannot be reached. Runs exactly once, with no
  // lock held.
  using Done = absl::AnyInvocable<void(absl::StatusOr<Answer>) &&>;

  virtual ~CallBudget() = default;

  // May a call of this kind be made now?
  virtual void Ask(int kind, Done done) = 0;
  // No process may call before this (steady) time, as whoever grants the account has asked.
  virtual void HoldUntil(absl::Time time) = 0;
  // Also tells `listener` what is known now and then, until it is replaced by null.
  virtual void Follow(std::function<void(const Picture&)> listener) = 0;
};

}  // namespace finetune
