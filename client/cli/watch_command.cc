// watch: jobs as they change.
#include "client/cli/watch_command.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <ostream>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/job_names.h"
#include "client/cli/job_text.h"
#include "client/cli/values.h"
#include "client/cpp/local_file.h"
#include "client/cpp/states.h"
#include "server/base/read_file.h"

namespace finetune::cli {
namespace {

struct WatchFlags {
  std::vector<std::string> names;
  std::string filter;
  std::vector<std::string> labels;
  std::string until;
  bool no_snapshot = false;
  bool active = false;
  bool all = false;
  bool every = false;
  bool full = false;
  bool heartbeats = false;
  bool fail_on_gap = false;
  std::string token_path;
};

constexpr size_t kShortId = 8;

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
        fitted_(session.table_width() > 0),
        table_(session.NewTable({{.heading = absl::StrCat("TIME (", ZoneName(), ")"), .rank = 1},
                                 {.heading = "EVENT", .rank = 3},
                                 {.heading = "STATE"},
                                 {.heading = "NAME", .least = 12},
                                 {.heading = "ID", .rank = 2},
                                 {.heading = "NOTE", .rank = 4, .least = 16}})) {
    if (!flags.until.empty()) until_ = *ParseState(flags.until);
    // Widths for everything that is still to come.
    const size_t id = fitted_ ? kShortId : kUuidWidth;
    table_.Widen({0, Width("SNAPSHOT"), Width("SUBMIT_UNKNOWN"), 24, id, 24});
  }

  // True when the watch is over.
  bool Print(const WatchEvent& event) {
    if (IsWanted(event)) {
      progress_.Hide();
      if (session_.for_people()) {
        PrintLine(event);
      } else if (event.kind != WatchEvent::Kind::kHeartbeat || flags_.heartbeats) {
        session_.Print(ToResponse(event));
      }
    }
    Note(event);
    if (!event.resume_token.empty()) KeepToken(event.resume_token);
    if (!session_.out.good()) return true;
    return until_ && Met();
  }

  // Notes a job's state that was learned elsewhere, for --until.
  void Learn(const pb::FineTune& job) { states_[job.name()] = job.state(); }

  int ExitCodeOfJobs() const {
    int code = kSuccess;
    for (const auto& [name, state] : states_) code = std::max(code, ExitCodeOfJob(state, *until_));
    return code;
  }

 private:
  static constexpr size_t kUuidWidth = 36;

  // People watch for what happens, so once the snapshot has shown a job that had already ended, it
  // is left out. Programs get everything unless they ask otherwise.
  bool IsWanted(const WatchEvent& event) const {
    if (event.fine_tune == nullptr || flags_.all) return true;
    if (!IsTerminal(event.fine_tune->state())) return true;
    if (flags_.active && event.kind == WatchEvent::Kind::kSnapshot) return false;
    if (!session_.for_people() && !flags_.active) return true;
    const auto before = states_.find(event.fine_tune->name());
    const bool ended_before = before != states_.end() && before->second == event.fine_tune->state();
    return !synced_ || !ended_before;
  }

  void Note(const WatchEvent& event) {
    if (event.kind == WatchEvent::Kind::kLeft) {
      states_.erase(event.fine_tune->name());
    } else if (event.fine_tune != nullptr) {
      states_[event.fine_tune->name()] = event.fine_tune->state();
    }
    if (event.kind == WatchEvent::Kind::kSynced) synced_ = true;
  }

  void PrintLine(const WatchEvent& event) {
    if (event.kind == WatchEvent::Kind::kReset)
      progress_.Say("The gateway cannot tell what happened meanwhile; the differences follow.");
    if (event.fine_tune == nullptr) return;
    const pb::FineTune& job = *event.fine_tune;
    const std::string id = Printable(ShortName(job.name()));
    table_.Add({{ClockTime(absl::Now()), Colours::kDim},
                {EventName(event.kind)},
                {StateName(job.state()), Colours::CodeOf(job.state())},
                {Printable(job.display_name())},
                {fitted_ ? id.substr(0, kShortId) : id, Colours::kDim},
                {NoteOf(job)}});
    table_.Print(session_.out, session_.colours());
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
    if (absl::Status status = ReplaceFile(flags_.token_path, absl::StrCat(token, "\n"));
        !status.ok()) {
      progress_.Say(absl::StrCat("finetune: ", Printable(std::string(status.message()))));
      return;
    }
    kept_token_ = token;
  }

  Session& session_;
  const WatchFlags& flags_;
  Progress& progress_;
  const bool fitted_;
  Table table_;
  std::optional<pb::FineTune::State> until_;
  absl::flat_hash_map<std::string, pb::FineTune::State> states_;
  bool synced_ = false;
  std::string kept_token_;
};

// Empty if the file does not exist yet.
absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return "";
  const auto file = ReadFile(path);
  if (!file.ok()) return file.status();
  return std::string(absl::StripAsciiWhitespace(file->text));
}

absl::Status ResolveNames(FineTuneClient& client, std::vector<std::string>& names) {
  for (std::string& name : names) {
    auto resolved = ResolveJob(client, name);
    if (!resolved.ok()) return resolved.status();
    name = *std::move(resolved);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return absl::OkStatus();
}

FollowOptions OptionsOf(const WatchFlags& flags) {
  FollowOptions options;
  options.watcher.names = flags.names;
  options.watcher.filter = FilterOf(flags.filter, flags.labels);
  options.watcher.skip_snapshot = flags.no_snapshot;
  options.heartbeats = flags.heartbeats || !flags.token_path.empty();
  if (flags.full) options.watcher.view = pb::FINE_TUNE_VIEW_FULL;
  if (flags.every) options.watcher.delivery = pb::WatchFineTunesRequest::EVERY;
  if (flags.fail_on_gap) options.watcher.gap_policy = pb::WatchFineTunesRequest::FAIL;
  return options;
}

int Watch(Session& session, FineTuneClient& client, WatchFlags& flags) {
  if (absl::Status status = ResolveNames(client, flags.names); !status.ok())
    return session.Fail(status);
  FollowOptions options = OptionsOf(flags);
  auto token = ReadToken(flags.token_path);
  if (!token.ok()) return session.Fail(token.status());
  options.watcher.resume_token = *std::move(token);
  const bool follows_on = !options.watcher.resume_token.empty();
  Progress progress(session.err, session.terminal, "watching; Ctrl-C ends it");
  Printer printer(session, flags, progress);
  if (follows_on && !flags.until.empty()) {
    // Without a snapshot, the stream does not say what was reached before.
    for (const std::string& name : flags.names) {
      auto job = client.Get(name);
      progress.Hide();
      if (!job.ok()) return session.Fail(job.status());
      printer.Learn(*job);
    }
  }
  options.on_event = [&](const WatchEvent& event) { return printer.Print(event); };
  const absl::Status status = Follow(client, session.call_timeout(), std::move(options), progress);
  progress.Hide();
  if (!status.ok()) return session.Fail(status);
  return flags.until.empty() ? kSuccess : printer.ExitCodeOfJobs();
}

}  // namespace

int WatchChanges(Session& session, FineTuneClient& client, const std::vector<std::string>& names,
                 const std::string& filter) {
  WatchFlags flags;
  flags.names = names;
  flags.filter = filter;
  flags.no_snapshot = true;
  return Watch(session, client, flags);
}

void AddWatch(CLI::App& app, Session& session) {
  auto flags = std::make_shared<WatchFlags>();
  CLI::App* command =
      app.add_subcommand("watch", "Show jobs as they are, then every change as it happens");
  command->add_option("names", flags->names, absl::StrCat(kJobHelp, "; none means all"));
  command->add_option("--filter", flags->filter, "Only jobs that match, as in list");
  command->add_option("-l,--label", flags->labels, "Only jobs with this label; may be repeated")
      ->check(IsSelector())
      ->allow_extra_args(false);
  command
      ->add_option("--until", flags->until,
                   "End when all of them have reached this state or are terminal")
      ->check(IsState())
      ->type_name("STATE");
  command->add_flag("--no-snapshot", flags->no_snapshot, "Only changes from now on")
      ->excludes("--until");
  CLI::Option* active =
      command->add_flag("--active", flags->active, "Leave finished jobs out of the snapshot, too");
  command->add_flag("--all", flags->all, "Show what changes of finished jobs, such as a label, too")
      ->excludes(active);
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
      "  finetune watch --active\n"
      "  finetune watch my-dog --until AVAILABLE\n"
      "  finetune watch -l team=art -o json | jq -c .change\n"
      "  finetune watch --resume-token ~/.finetune-place --every");
  command->callback([flags, &session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return Watch(session, client, *flags); });
  });
}

}  // namespace finetune::cli
