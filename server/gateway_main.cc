#include "server/gateway_main.h"

#include <grpc/support/log.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/stubs/logging.h"
#include "server/base/clock.h"
#include "server/base/line_quota.h"
#include "server/base/log.h"
#include "server/config.h"
#include "server/gateway.h"
#include "server/process_limits.h"
#include "server/start_check.h"
#include "server/store/copy_store.h"

namespace finetune {
namespace {

// Takes over gRPC's own lines, which would go to stderr as text.
// Anybody who reaches the port can cause some, such as of a TLS handshake that fails, so that there
// are only a few a second from each place in its code.
void LogOfGrpc(gpr_log_func_args* line) {
  static auto* const quota = new LineQuota;  // Never destroyed: gRPC's threads may outlive main.
  const LogLevel level =
      line->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
  if (!LogEnabled(level)) return;
  const auto left_out = quota->Take(absl::StrCat(line->file, ":", line->line), SteadyNow());
  if (!left_out) return;
  Log(level, "grpc",
      {{"text", line->message},
       {"file", line->file},
       {"line", line->line},
       {"lines_left_out", *left_out}});
}

// Exit codes: 0 after a drain, --help or a --check that finds nothing, 1 if the start failed, 2 for
// an unknown flag.
int Fail(const absl::Status& status, int code = 1) {
  FlushLog();
  const std::string message(status.message());
  std::fprintf(stderr, "finetune-gateway: %s\n", message.c_str());
  return code;
}

// Takes over Protobuf's own lines, such as about text that is not UTF-8.
void LogOfProtobuf(google::protobuf::LogLevel, const char* file, int line,
                   const std::string& message) {
  Log(LogLevel::kDebug, "protobuf", {{"text", message}, {"file", file}, {"line", line}});
}

// The environment for the configuration. The API key's variable stays in place.
Environment ReadEnvironment() {
  Environment found;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::pair<std::string, std::string> variable =
        absl::StrSplit(*entry, absl::MaxSplits('=', 1));
    const std::string& name = variable.first;
    if (absl::StartsWith(name, "FINETUNE_GATEWAY_") || absl::StartsWith(name, "OTEL_") ||
        name == "HOME" || name == "XDG_STATE_HOME")
      found.insert(variable);
  }
  return found;
}

sigset_t SetOf(std::initializer_list<int> numbers) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : numbers) sigaddset(&signals, number);
  return signals;
}

int WaitFor(const sigset_t& signals) {
  int number = 0;
  sigwait(&signals, &number);
  return number;
}

void EndAtOnceOnNextSignal(const sigset_t& signals) {
  try {
    std::thread([signals] { _exit(128 + WaitFor(signals)); }).detach();
  } catch (const std::system_error&) {
    // If no thread can be made, the drain just goes on to its end.
  }
}

int Check(const Config& config) {
  SetLogLevel(LogLevel::kError);
  RaiseFileLimit();
  const StartCheck found = CheckStart(config);
  for (const std::string& warning : found.warnings)
    std::fprintf(stderr, "finetune-gateway: warning: %s\n", warning.c_str());
  for (const std::string& error : found.errors)
    std::fprintf(stderr, "finetune-gateway: %s\n", error.c_str());
  if (!found.errors.empty()) return 1;
  std::puts("finetune-gateway: the configuration is good");
  return 0;
}

// Ends the process when memory or threads have run out, in whatever thread. Nothing that is in the
// store is lost by that, and unwinding would need more of both.
[[noreturn]] void EndOfResources() {
  const char* why = "of an unknown cause";
  try {
    if (const std::exception_ptr thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::bad_alloc&) {
    why = "there is no memory left";
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {
  }
  std::fprintf(stderr, "finetune-gateway: has to end: %s\n", why);
  _exit(1);
}

// Parses a place for a record, as --store names it. False if it is neither a file nor a database.
bool ParsePlace(const std::string& text, StorePlace& place) {
  constexpr std::string_view kSqlite = "sqlite:";
  if (text.starts_with(kSqlite)) {
    place.sqlite_path = text.substr(kSqlite.size());
    return !place.sqlite_path.empty() && place.sqlite_path != ":memory:";
  }
  place.database.url = text;
  return text.starts_with("postgres");
}

constexpr char kCopyStore[] = "copy-store";
constexpr char kCopyStoreHelp[] =
    R"(finetune-gateway copy-store: moves a record from a file into PostgreSQL, or back, while no gateway uses it.

  --from STORE, --to STORE
      sqlite:PATH and postgresql://USER@HOST:PORT/DATABASE, or the other way round. The place that it moves to has no record yet.
  --store_password_file FILE
      The database's password.
  --store_ca_file FILE
      Certificate authorities that the database's certificate must come from, PEM.

Names, resume tokens and request_ids go on to mean what they did. A gateway refuses the record that was moved from.
)";

int RunCopyStore(const std::vector<std::string>& arguments) {
  std::map<std::string, std::string> given = {
      {"--from", ""}, {"--to", ""}, {"--store_password_file", ""}, {"--store_ca_file", ""}};
  for (size_t i = 1; i < arguments.size(); ++i) {
    const size_t equals = arguments[i].find('=');
    const auto flag = given.find(arguments[i].substr(0, equals));
    if (flag == given.end() || (equals == std::string::npos && i + 1 == arguments.size()))
      return Fail(absl::NotFoundError("copy-store takes --from STORE, --to STORE, "
                                      "--store_password_file FILE and --store_ca_file FILE; "
                                      "`finetune-gateway copy-store --help` says more"),
                  2);
    flag->second = equals == std::string::npos ? arguments[++i] : arguments[i].substr(equals + 1);
  }
  StorePlace places[2];
  const char* const names[] = {"--from", "--to"};
  for (int i = 0; i < 2; ++i) {
    if (!ParsePlace(given[names[i]], places[i])) {
      return Fail(absl::InvalidArgumentError(
          absl::StrCat(names[i], " must be sqlite:PATH or postgresql://USER@HOST:PORT/DATABASE")));
    }
    places[i].database.password_file = given["--store_password_file"];
    places[i].database.ca_file = given["--store_ca_file"];
  }
  if (places[0].sqlite_path.empty() == places[1].sqlite_path.empty()) {
    return Fail(absl::InvalidArgumentError(
        "one of --from and --to must be a file, sqlite:PATH, and the other one a database"));
  }
  SetLogLevel(LogLevel::kWarning);
  if (absl::Status copied = CopyStore(places[0], places[1]); !copied.ok()) return Fail(copied);
  const std::string to =
      places[1].sqlite_path.empty() ? ShownPgUrl(places[1].database.url) : given["--to"];
  std::printf("moved the record to %s\n", to.c_str());
  return 0;
}

int Run(const std::vector<std::string>& arguments) {
  std::set_terminate(EndOfResources);
  // Blocked in every thread, so that one can wait for them.
  const sigset_t signals = SetOf({SIGTERM, SIGINT, SIGHUP});
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // At a limit on file sizes the store fails to write; the process does not end.
  signal(SIGXFSZ, SIG_IGN);
  ForbidCoreDumps();
  // Abseil with assertions, as Debian builds it, records the order of all locks taken. The only
  // such locks here are gRPC's.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const auto config = ReadConfig(arguments, ReadEnvironment());
  if (!config.ok()) return Fail(config.status(), absl::IsNotFound(config.status()) ? 2 : 1);
  if (config->check) return Check(*config);
  SetLogLevel(config->log_level);
  gpr_set_log_function(LogOfGrpc);
  google::protobuf::SetLogHandler(LogOfProtobuf);
  Log(LogLevel::kInfo, "starting",
      {{"version", FINETUNE_VERSION}, {"open_files", RaiseFileLimit()}, {"cpus", CpuLimit()}});
  if (absl::Status allowed = CheckProcessLimits(); !allowed.ok()) return Fail(allowed);
  // Nobody takes signals yet, so they are pending.
  auto gateway = Gateway::Create(*config, [] {
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
  });
  if (!gateway.ok()) return Fail(gateway.status());
  if (absl::Status started = (*gateway)->Start(); !started.ok()) {
    gateway->reset();
    return Fail(started);
  }
  while (WaitFor(signals) == SIGHUP) {
    Log(LogLevel::kInfo, "looking at all files again");
    (*gateway)->RereadFiles();
  }
  EndAtOnceOnNextSignal(SetOf({SIGTERM, SIGINT}));
  (*gateway)->Drain();
  gateway->reset();
  FlushLog();
  return 0;
}

}  // namespace

int GatewayMain(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool is_copy = !arguments.empty() && arguments[0] == kCopyStore;
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") {
      std::fputs(is_copy ? kCopyStoreHelp : HelpText().c_str(), stdout);
      return 0;
    }
    if (argument == "--version") {
      std::puts("finetune-gateway " FINETUNE_VERSION);
      return 0;
    }
  }
  if (is_copy) return RunCopyStore(arguments);
  return Run(arguments);
}

}  // namespace finetune
