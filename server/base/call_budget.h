#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace finetune {

// The calls that an account allows in a minute, where several processes make them: each call is
// granted by what all of them share. Thread-safe.
class CallBudget {
 public:
  // What was granted, to whomever. Steady times, none earlier than the call's own.
  struct Call {
    uint64_t id = 0;
    absl::Time time;
    int kind = 0;
  };
  struct Picture {
    std::vector<Call> calls;  // Of the last minute, oldest first.
    absl::Time hold_until = absl::InfinitePast();
  };
  struct Answer {
    // The call's id, if it is granted: it must be made at once.
    std::optional<uint64_t> granted;
    Picture picture;  // With it.
  };
  // UNAVAILABLE / STORE_UNAVAILABLE if nobody could be asked. Runs exactly once, with no lock held.
  using Done = absl::AnyInvocable<void(absl::StatusOr<Answer>) &&>;

  virtual ~CallBudget() = default;

  // May a call of this kind be made now?
  virtual void Ask(int kind, Done done) = 0;
  // Nobody may call before this (steady) time: the account's owner said so.
  virtual void HoldUntil(absl::Time time) = 0;
  // What is known is told now and then, too, until this is replaced by null.
  virtual void Follow(std::function<void(const Picture&)> listener) = 0;
};

}  // namespace finetune
