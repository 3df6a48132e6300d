#include "client/cli/follow.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_text.h"
#include "client/cli/values.h"
#include "client/cpp/states.h"

namespace finetune::cli {
namespace {

// Through this the watcher's thread tells the command's thread how things stand.
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
  // Said once per interruption, however many tries follow.
  bool away = false;
  options.watcher.on_connection = [&](const WatchConnection& connection) {
    if (connection.connected) {
      if (away) progress.Say("Connected again.");
      away = false;
      was_connected = true;
      outcome.Connected();
      return;
    }
    outcome.Failed(connection.status);
    if (std::exchange(away, true)) return;
    const std::string why(connection.status.message());
    progress.Say(absl::StrCat("The gateway is away", why.empty() ? "" : " (", Printable(why),
                              why.empty() ? "" : ")", "; trying again ",
                              was_connected
                                  ? "until it is back."
                                  : absl::StrCat("for ", ShortDuration(connect_timeout), ".")));
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

namespace {

// Follows a job to its end and prints each state as it comes. OK with the job as it then is.
absl::Status FollowJob(Session& session, FineTuneClient& client, const std::string& name,
                       pb::FineTune::State until, absl::Duration timeout, pb::FineTune& job) {
  const auto purpose = [until](const std::string& called) {
    return absl::StrCat(called, ": waiting for ", StateName(until));
  };
  Progress progress(session.err, session.terminal, purpose(Printable(ShortName(name))));
  FollowOptions options;
  options.watcher.names = {name};
  options.watcher.view = pb::FINE_TUNE_VIEW_FULL;
  options.timeout = timeout;
  options.on_event = [&](const WatchEvent& event) {
    if (event.fine_tune == nullptr) return false;
    const bool news = event.fine_tune->state() != job.state();
    job = *event.fine_tune;
    const std::string state = StateText(job);
    progress.Show(absl::StrCat(purpose(CalledName(job)), ", now ", state));
    if (news) progress.Say(absl::StrCat(ClockTime(absl::Now()), " ", ZoneName(), "  ", state));
    return HasReached(job.state(), until) || IsTerminal(job.state());
  };
  return Follow(client, session.call_timeout(), std::move(options), progress);
}

}  // namespace

int AwaitJob(Session& session, FineTuneClient& client, const std::string& name,
             pb::FineTune::State until, const Patience& patience) {
  const std::string id = Printable(ShortName(name));
  const Farewell farewell(absl::StrCat("The job goes on; to wait on: finetune wait ", id));
  pb::FineTune job;
  const absl::Status status = FollowJob(session, client, name, until, patience.timeout, job);
  if (!status.ok() && (job.name().empty() || !absl::IsDeadlineExceeded(status)))
    return session.Fail(status, patience.flag);
  if (!status.ok()) {
    PrintError(absl::DeadlineExceededError(
                   absl::StrCat(status.message(), "; the job goes on and is ", StateText(job))),
               session.err, patience.flag);
    return ExitCodeOf(status);
  }
  PrintJob(session, job);
  const int code = ExitCodeOfJob(job.state(), until);
  if (code != kSuccess && session.for_people()) {
    for (const std::string& step : NextSteps(job)) session.err << step << "\n";
  }
  return code;
}

}  // namespace finetune::cli
