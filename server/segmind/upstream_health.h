#pragma once

#include <array>

#include "absl/time/time.h"
#include "server/segmind/error_table.h"

namespace finetune {

// How Segmind is doing, from the latest answer to each kind of call, so that the state does not
// flap while one kind fails and others succeed. Not thread-safe.
class UpstreamHealth {
 public:
  enum class Answer {
    kGood,        // Of Segmind itself, be it a refusal.
    kFailed,      // None, or one of no use: 5xx, 429, a page.
    kKeyRefused,  // Segmind's own JSON says so.
  };

  void Note(UpstreamCall call, Answer answer, absl::Time now);
  // Such calls are no longer made here: how the latest went no longer counts.
  void Forget(UpstreamCall call) { latest_[static_cast<size_t>(call)] = {}; }
  // Whether Segmind takes new jobs, by its latest answer to a submit.
  void NoteRetired(bool retired) { retired_ = retired; }

  // CREDENTIAL_REJECTED only if no kind of call has gone well since; DEGRADED if a kind fails, or
  // has failed in the last minutes and was not tried again.
  pb::GatewayStatus::UpstreamState state(absl::Time now) const;

 private:
  struct Latest {
    bool known = false;
    Answer answer = Answer::kGood;
    absl::Time time;
  };

  std::array<Latest, std::size(kUpstreamCalls)> latest_;
  bool retired_ = false;
};

}  // namespace finetune
