#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "client/cli/progress.h"
#include "client/cli/session.h"

namespace finetune::cli {

// One watch, followed on the caller's thread: events are handled one at a time until the handler
// has seen enough, the stream ends for good, the time is up, or the gateway was never reached
// within the time of a call. Connection troubles are told through the progress.
struct FollowOptions {
  WatcherOptions watcher;
  bool heartbeats = false;
  std::optional<absl::Duration> timeout;
  // Called on the watcher's thread; true when nothing more is wanted.
  std::function<bool(const WatchEvent&)> on_event;
};

// OK once `on_event` has returned true. DEADLINE_EXCEEDED when the time was up first.
absl::Status Follow(FineTuneClient& client, absl::Duration connect_timeout, FollowOptions options,
                    Progress& progress);

struct Patience {
  absl::Duration timeout;
  // The flag that gives more.
  std::string_view flag;
};

// Waits until the job has reached `until` or is terminal, shows its states meanwhile, and prints
// the job. Returns the exit code.
int AwaitJob(Session& session, FineTuneClient& client, const std::string& name,
             pb::FineTune::State until, const Patience& patience);

// What the end of a job means to who awaited `until`.
int ExitCodeOfJob(pb::FineTune::State state, pb::FineTune::State until);

}  // namespace finetune::cli
