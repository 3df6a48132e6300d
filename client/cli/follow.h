#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "client/cli/progress.h"
#include "client/cli/session.h"

namespace finetune::cli {

// One watch, followed on the caller's thread: events are handled one at a time until the handler
// has seen enough, the stream ends for good, the time is up, or the gateway could not be reached
// within the timeout of a call. The progress line shows connection troubles.
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

// How long to wait.
struct Patience {
  absl::Duration timeout;
  // The flag that sets it.
  std::string_view flag;
};

// Waits until the job has reached `until` or is terminal, showing its states meanwhile, and then
// prints the job. Returns the exit code.
int AwaitJob(Session& session, FineTuneClient& client, const std::string& name,
             pb::FineTune::State until, const Patience& patience);

// The exit code for a job in `state` if `until` was awaited.
int ExitCodeOfJob(pb::FineTune::State state, pb::FineTune::State until);

}  // namespace finetune::cli
