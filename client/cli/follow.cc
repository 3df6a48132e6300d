#include "client/cli/follow.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/values.h"
#include "client/cpp/states.h"

namespace finetune::cli {
namespace {

// Where the watcher's thread tells the command's thread how things stand.
class Outcome {
 public:
  void Connected() ABSL_LOCKS_EXCLUDED(mu_) {
    ClientLock lock(mu_);
    connected_ = true;
    changed_.NotifyAll();
  }

  void Failed(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_) {
    ClientLock lock(mu_);
    last_failure_ = status;
  }

  void Done(absl::Status result) ABSL_LOCKS_EXCLUDED(mu_) {
    ClientLock lock(mu_);
    if (!result_) result_ = std::move(result);
    changed_.NotifyAll();
  }

  bool done() ABSL_LOCKS_EXCLUDED(mu_) {
    ClientLock lock(mu_);
    return result_.has_value();
  }

  absl::Status Wait(absl::Time connect_by, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_) {
    ClientLock lock(mu_);
    while (!result_) {
      const absl::Time now = absl::Now();
      if (!connected_ && now >= connect_by) {
        return last_failure_.ok() ? absl::DeadlineExceededError("the gateway does not answer")
                                  : last_failure_;
      }
      if (now >= deadline) return absl::DeadlineExceededError("the time to wait is over");
      const absl::Duration pause =
          std::min(connected_ ? deadline - now : connect_by - now, deadline - now);
      changed_.WaitFor(mu_, absl::ToChronoNanoseconds(std::min(pause, absl::Hours(1))));
    }
    return *result_;
  }

 private:
  ClientMutex mu_;
  ClientCondition changed_;
  bool connected_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status last_failure_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> result_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::Status Follow(FineTuneClient& client, absl::Duration connect_timeout, FollowOptions options,
                    Progress& progress) {
  Outcome outcome;
  bool was_connected = false;
  options.watcher.on_connection = [&](const WatchConnection& connection) {
    if (connection.connected) {
      if (was_connected) progress.Say("Connected again.");
      was_connected = true;
      outcome.Connected();
      return;
    }
    outcome.Failed(connection.status);
    if (!was_connected) return;
    const std::string why(connection.status.message());
    progress.Say(absl::StrCat(
        "The stream ended", why.empty() ? "" : ": ", Printable(why), "; resuming in ",
        absl::FormatDuration(absl::Trunc(connection.retry_in, absl::Milliseconds(10))), "."));
  };
  const absl::Time start = absl::Now();
  const absl::Time deadline = options.timeout ? start + *options.timeout : absl::InfiniteFuture();
  std::unique_ptr<Watcher> watcher = client.NewWatcher(std::move(options.watcher));
  std::unique_ptr<Subscription> subscription =
      watcher->Subscribe({.heartbeats = options.heartbeats}, [&](const WatchEvent& event) {
        if (outcome.done()) return;
        if (event.kind == WatchEvent::Kind::kEnded) {
          outcome.Done(event.status);
        } else if (options.on_event(event)) {
          outcome.Done(absl::OkStatus());
        }
      });
  absl::Status result = outcome.Wait(start + connect_timeout, deadline);
  subscription.reset();
  watcher.reset();
  return result;
}

int ExitCodeOfJob(pb::FineTune::State state, pb::FineTune::State until) {
  return HasReached(state, until) ? kSuccess : kJobFailed;
}

int AwaitJob(Session& session, const std::string& name, pb::FineTune::State until,
             std::optional<absl::Duration> timeout) {
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  pb::FineTune job;
  {
    const std::string purpose =
        absl::StrCat(Printable(ShortName(name)), ": waiting for ", StateName(until));
    Progress progress(session.err, session.terminal.err, purpose);
    FollowOptions options;
    options.watcher.names = {name};
    options.watcher.view = pb::FINE_TUNE_VIEW_FULL;
    options.timeout = timeout;
    options.on_event = [&](const WatchEvent& event) {
      if (event.fine_tune == nullptr) return false;
      const bool news = event.fine_tune->state() != job.state();
      job = *event.fine_tune;
      std::string state = StateName(job.state());
      if (job.state() == pb::FineTune::SUBMIT_UNKNOWN) state += " (being resolved)";
      progress.Show(absl::StrCat(purpose, ", now ", state));
      if (news) {
        progress.Say(absl::StrCat(absl::FormatTime("%H:%M:%S", absl::Now(), absl::LocalTimeZone()),
                                  "  ", state));
      }
      return HasReached(job.state(), until) || IsTerminal(job.state());
    };
    const absl::Status status =
        Follow(**client, session.call_timeout(), std::move(options), progress);
    if (!status.ok() && job.name().empty()) return session.Fail(status);
    if (!status.ok()) {
      PrintError(absl::Status(status.code(), absl::StrCat(status.message(), "; the job is ",
                                                          StateName(job.state()))),
                 session.err);
      return ExitCodeOf(status);
    }
  }
  PrintJob(session, job);
  return ExitCodeOfJob(job.state(), until);
}

}  // namespace finetune::cli
