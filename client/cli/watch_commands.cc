// watch and wait: jobs as they change.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <ostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/values.h"
#include "client/cpp/states.h"

namespace finetune::cli {
namespace {

struct WaitFlags {
  std::string name;
  std::string until = "AVAILABLE";
  std::string timeout = "1h";
};

struct WatchFlags {
  std::vector<std::string> names;
  std::string filter;
  std::string until;
  bool no_snapshot = false;
  bool every = false;
  bool full = false;
  bool heartbeats = false;
  bool fail_on_gap = false;
  std::string token_path;
};

constexpr size_t kUuidWidth = 36;

const char* EventName(WatchEvent::Kind kind) {
  switch (kind) {
    case WatchEvent::Kind::kSnapshot:
      return "SNAPSHOT";
    case WatchEvent::Kind::kCreated:
      return "CREATED";
    case WatchEvent::Kind::kLeft:
      return "LEFT";
    default:
      return "UPDATED";
  }
}

pb::WatchFineTunesResponse ToResponse(const WatchEvent& event) {
  pb::WatchFineTunesResponse response;
  response.set_resume_token(event.resume_token);
  response.set_revision(event.revision);
  switch (event.kind) {
    case WatchEvent::Kind::kSynced:
      response.mutable_synced();
      break;
    case WatchEvent::Kind::kReset:
      response.mutable_restart()->set_reason(event.reset_reason);
      break;
    case WatchEvent::Kind::kHeartbeat:
    case WatchEvent::Kind::kEnded:
      response.mutable_heartbeat();
      break;
    default: {
      pb::Change& change = *response.mutable_change();
      change.set_type(event.kind == WatchEvent::Kind::kSnapshot  ? pb::Change::SNAPSHOT
                      : event.kind == WatchEvent::Kind::kCreated ? pb::Change::CREATED
                      : event.kind == WatchEvent::Kind::kLeft    ? pb::Change::LEFT_FILTER
                                                                 : pb::Change::UPDATED);
      *change.mutable_fine_tune() = *event.fine_tune;
      break;
    }
  }
  return response;
}

// The command's side of a watch: prints events, keeps the token file, and knows when --until is
// met. On the watcher's thread; owned by Watch().
class Printer {
 public:
  Printer(Session& session, const WatchFlags& flags, Progress& progress)
      : session_(session),
        flags_(flags),
        progress_(progress),
        table_({"TIME", "EVENT", "STATE", "ID", "NAME"}) {
    if (!flags.until.empty()) until_ = *ParseState(flags.until);
    table_.Widen({Width("00:00:00"), Width("SNAPSHOT"), Width("SUBMIT_UNKNOWN"), kUuidWidth});
  }

  // True when enough was seen.
  bool Print(const WatchEvent& event) {
    progress_.Hide();
    if (session_.json()) {
      if (event.kind != WatchEvent::Kind::kHeartbeat || flags_.heartbeats)
        session_.PrintJson(ToResponse(event));
    } else {
      PrintLine(event);
    }
    if (event.fine_tune != nullptr && event.kind != WatchEvent::Kind::kLeft) {
      states_[event.fine_tune->name()] = event.fine_tune->state();
    } else if (event.kind == WatchEvent::Kind::kLeft) {
      states_.erase(event.fine_tune->name());
    }
    if (event.kind == WatchEvent::Kind::kSynced) synced_ = true;
    if (!event.resume_token.empty()) KeepToken(event.resume_token);
    if (!session_.out.good()) return true;
    return until_ && Met();
  }

  // A job's state learned otherwise, for --until.
  void Learn(const pb::FineTune& job) { states_[job.name()] = job.state(); }

  int ExitCodeOfJobs() const {
    int code = kSuccess;
    for (const auto& [name, state] : states_) code = std::max(code, ExitCodeOfJob(state, *until_));
    return code;
  }

 private:
  void PrintLine(const WatchEvent& event) {
    const Colours colours = session_.colours();
    const std::string time = absl::FormatTime("%H:%M:%S", absl::Now(), absl::LocalTimeZone());
    if (event.kind == WatchEvent::Kind::kReset) {
      progress_.Say("The gateway cannot tell what happened meanwhile; the differences follow.");
    }
    if (event.fine_tune == nullptr) return;
    const pb::FineTune& job = *event.fine_tune;
    std::string state = StateName(job.state());
    const std::string kind = EventName(event.kind);
    std::string name = Shorten(Printable(job.display_name()), 40);
    if (job.state() == pb::FineTune::SUBMIT_UNKNOWN)
      absl::StrAppend(&name, " (the submission is being resolved)");
    if (job.has_failure()) absl::StrAppend(&name, " (", Printable(job.failure().message()), ")");
    table_.Add({{time, colours.Dim(time)},
                {kind},
                {state, colours.State(job.state(), state)},
                {Printable(ShortName(job.name()))},
                {name}});
    table_.Print(session_.out, colours);
  }

  bool Met() const {
    if (!synced_ && flags_.names.empty()) return false;
    if (states_.empty() || (!flags_.names.empty() && states_.size() < flags_.names.size()))
      return false;
    return std::all_of(states_.begin(), states_.end(), [&](const auto& entry) {
      return HasReached(entry.second, *until_) || IsTerminal(entry.second);
    });
  }

  void KeepToken(const std::string& token) {
    if (flags_.token_path.empty() || token == kept_token_) return;
    const std::string draft = absl::StrCat(flags_.token_path, ".tmp");
    std::ofstream file(draft, std::ios::trunc);
    file << token << "\n";
    file.close();
    if (!file.good() || std::rename(draft.c_str(), flags_.token_path.c_str()) != 0) {
      progress_.Say(absl::StrCat("finetune: cannot write ", flags_.token_path));
      return;
    }
    kept_token_ = token;
  }

  Session& session_;
  const WatchFlags& flags_;
  Progress& progress_;
  Table table_;
  std::optional<pb::FineTune::State> until_;
  absl::flat_hash_map<std::string, pb::FineTune::State> states_;
  bool synced_ = false;
  std::string kept_token_;
};

std::string ReadToken(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!path.empty()) std::getline(file, token);
  return std::string(absl::StripAsciiWhitespace(token));
}

int Watch(Session& session, WatchFlags& flags) {
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  FollowOptions options;
  for (std::string& name : flags.names) name = FullName(name);
  std::sort(flags.names.begin(), flags.names.end());
  flags.names.erase(std::unique(flags.names.begin(), flags.names.end()), flags.names.end());
  options.watcher.names = flags.names;
  options.watcher.filter = flags.filter;
  options.watcher.skip_snapshot = flags.no_snapshot;
  options.watcher.resume_token = ReadToken(flags.token_path);
  options.heartbeats = flags.heartbeats || !flags.token_path.empty();
  if (flags.full) options.watcher.view = pb::FINE_TUNE_VIEW_FULL;
  if (flags.every) options.watcher.delivery = pb::WatchFineTunesRequest::EVERY;
  if (flags.fail_on_gap) options.watcher.gap_policy = pb::WatchFineTunesRequest::FAIL;

  const bool follows_on = !options.watcher.resume_token.empty();
  Progress progress(session.err, session.terminal.err, "watching; Ctrl-C ends it");
  Printer printer(session, flags, progress);
  if (follows_on && !flags.until.empty()) {
    // Without a snapshot the stream does not say what has been reached before.
    for (const std::string& name : flags.names) {
      auto job = (*client)->Get(name);
      if (!job.ok()) return session.Fail(job.status());
      printer.Learn(*job);
    }
  }
  options.on_event = [&](const WatchEvent& event) { return printer.Print(event); };
  const absl::Status status =
      Follow(**client, session.call_timeout(), std::move(options), progress);
  progress.Hide();
  if (!status.ok()) return session.Fail(status);
  return flags.until.empty() ? kSuccess : printer.ExitCodeOfJobs();
}

}  // namespace

void AddWatch(CLI::App& app, Session& session) {
  auto flags = std::make_shared<WatchFlags>();
  CLI::App* command =
      app.add_subcommand("watch", "Show jobs as they are, then every change as it happens");
  command->add_option("names", flags->names, "Jobs, with or without fineTunes/; none means all");
  command->add_option("--filter", flags->filter, "Only jobs that match, as in list");
  command
      ->add_option("--until", flags->until,
                   "End when all of them have reached this state or are terminal")
      ->check(IsState())
      ->type_name("STATE");
  command->add_flag("--no-snapshot", flags->no_snapshot, "Only changes from now on")
      ->excludes("--until");
  command->add_flag("--every", flags->every, "Every transition, not only the latest of a job");
  command->add_flag("--full", flags->full, "Jobs with history and model information (JSON)");
  command->add_flag("--heartbeats", flags->heartbeats, "Heartbeats too (JSON)");
  command->add_flag("--fail-on-gap", flags->fail_on_gap,
                    "Fail if changes since the token are no longer kept");
  command
      ->add_option(
          "--resume-token", flags->token_path,
          "A file that keeps the place: go on from it if it exists, and write it while watching")
      ->type_name("FILE");
  command->footer(
      "Reconnects by itself and loses nothing. As JSON each line is a WatchFineTunesResponse.\n"
      "Examples:\n"
      "  finetune watch\n"
      "  finetune watch 0f8b6c1e-5a3d-4f0e-9d0b-1c2d3e4f5a6b --until AVAILABLE\n"
      "  finetune watch --filter 'labels.team = \"art\"' --output json | jq -c .change\n"
      "  finetune watch --resume-token ~/.finetune-place --every");
  command->callback([flags, &session] { session.exit_code = Watch(session, *flags); });
}

void AddWait(CLI::App& app, Session& session) {
  auto flags = std::make_shared<WaitFlags>();
  CLI::App* command = app.add_subcommand("wait", "Wait until a job has reached a state");
  command->add_option("name", flags->name, "The job, with or without fineTunes/")->required();
  command->add_option("--for", flags->until, "The state, or a later one; AVAILABLE if not given")
      ->check(IsState())
      ->type_name("STATE");
  command->add_option("--timeout", flags->timeout, "How long at most; 1h if not given")
      ->check(IsTimespan());
  command->footer(
      "Ends with 0 when the state is reached, 1 when the job ended otherwise, 6 when the time was "
      "up.\n"
      "Examples:\n"
      "  finetune wait 0f8b6c1e-5a3d-4f0e-9d0b-1c2d3e4f5a6b\n"
      "  finetune wait 0f8b6c1e-5a3d-4f0e-9d0b-1c2d3e4f5a6b --for TRAINED --timeout 2h");
  command->callback([flags, &session] {
    session.exit_code = AwaitJob(session, FullName(flags->name), *ParseState(flags->until),
                                 *ParseTimespan(flags->timeout));
  });
}

}  // namespace finetune::cli
