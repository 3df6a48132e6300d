#include "server/config.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/status_macros.h"
#include "server/http/address_policy.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:50051",
          "HOST:PORT of the gRPC service; port 0 takes any. Beyond loopback it needs TLS and a "
          "policy, or "
          "--allow_insecure.");
ABSL_FLAG(std::string, webhook_listen, "127.0.0.1:8080",
          "HOST:PORT of the webhook door, POST /webhooks/segmind/{token}. Without "
          "--webhook_token_file it accepts nothing.");
ABSL_FLAG(std::string, admin_listen, "127.0.0.1:9090",
          "HOST:PORT of the operators' door: /metrics, /livez, /readyz.");
ABSL_FLAG(std::string, port_file, "",
          "File to write the ports to once all doors are open, as a JSON object with grpc, webhook "
          "and admin.");
ABSL_FLAG(bool, allow_insecure, false,
          "Serve beyond loopback without knowing the callers: whoever reaches the port spends the "
          "account's money.");
ABSL_FLAG(std::string, tls_cert_file, "",
          "PEM file with the service's certificate chain; reread when it changes.");
ABSL_FLAG(std::string, tls_key_file, "", "PEM file with its private key; reread when it changes.");
ABSL_FLAG(std::string, tls_client_ca_file, "",
          "PEM file with the authorities of client certificates, which are then required.");
ABSL_FLAG(
    std::string, policy_file, "",
    "Who may call, in which role and how much: the proto3 JSON of server/access/policy.proto, "
    "reread when it changes. Without it whoever reaches the port may do everything.");
ABSL_FLAG(bool, reflection, true,
          "Serve gRPC reflection, which tells clients the contract; with --policy_file only if "
          "asked for, because everybody may use it.");
ABSL_FLAG(bool, channelz, true,
          "Serve gRPC channelz, which shows connections for debugging; likewise.");
ABSL_FLAG(std::string, upstream_url, "https://api.segmind.com",
          "Segmind's API, or the emulator's.");
ABSL_FLAG(std::string, api_key_file, "",
          "File with Segmind's API key; reread when Segmind refuses the key. Without it, the "
          "environment variable SEGMIND_API_KEY.");
ABSL_FLAG(std::string, webhook_token_file, "",
          "File with the secret in the webhook's URL, at least 22 characters; several lines are "
          "several valid tokens. Reread when it changes.");
ABSL_FLAG(int, upstream_calls_per_minute, 50, "The account's rate limit: calls a minute.");
ABSL_FLAG(absl::Duration, upstream_timeout, absl::Seconds(30),
          "For one try of a call to Segmind but submit and list (4 times this, for list).");
ABSL_FLAG(absl::Duration, submit_timeout, absl::Seconds(60),
          "For a submission; after it, its outcome is unknown and is looked for.");
ABSL_FLAG(absl::Duration, active_poll_interval, absl::Seconds(15),
          "Between lists while a job is not in a terminal state.");
ABSL_FLAG(absl::Duration, idle_poll_interval, absl::Minutes(5),
          "Between lists when all jobs are in a terminal state.");
ABSL_FLAG(int, settle_lists, 3,
          "A submission of unknown outcome counts as not made once it was missing from so many "
          "lists ...");
ABSL_FLAG(absl::Duration, settle_time, absl::Minutes(2), "... over at least so long.");
ABSL_FLAG(bool, markers, true,
          "Append a short marker to the name that Segmind sees, so that a submission whose answer "
          "was lost is found again.");
ABSL_FLAG(std::string, store, "sqlite:",
          "The record: sqlite:PATH. Without a path, finetune-gateway/store.db under "
          "$XDG_STATE_HOME or ~/.local/state.");
ABSL_FLAG(
    std::string, transfer_hosts, std::string(finetune::kDefaultTransferHosts),
    "Hosts that datasets are sent to and weights fetched from, with commas between: NAME, "
    "*.NAME for all below it, NAME:PORT. The upstream URL's own is always one. Those that are "
    "named in full here, beyond the default ones, may have private addresses.");
ABSL_FLAG(int, max_concurrent_transfers, 64,
          "Datasets and weights on the way at once; each takes a few MiB of memory at most.");
ABSL_FLAG(absl::Duration, transfer_idle_timeout, absl::Seconds(60),
          "A transfer in which no byte has moved for so long is ended.");
ABSL_FLAG(int, max_watchers, 20'000, "Watch streams at once.");
ABSL_FLAG(int, max_watchers_per_caller, 20'000, "Watch streams at once of one caller.");
ABSL_FLAG(absl::Duration, max_stream_age, absl::Minutes(30),
          "A watch stream's greatest age, drawn within 10 %; clients then resume.");
ABSL_FLAG(int, watch_window_changes, 10'000,
          "Changes kept for watchers that resume, at most so many ...");
ABSL_FLAG(absl::Duration, watch_window_age, absl::Hours(1), "... and none older than this.");
ABSL_FLAG(absl::Duration, drain_delay, absl::Seconds(5),
          "On SIGTERM, from not being ready to ending anything: time for endpoints to go.");
ABSL_FLAG(absl::Duration, drain_time, absl::Seconds(10),
          "Then, for ending streams and finishing calls; what is left is cancelled.");
ABSL_FLAG(std::string, log_level, "info", "debug, info, warning or error.");

namespace finetune {
namespace {

// In the order of --help.
constexpr absl::string_view kFlags[] = {"listen",
                                        "webhook_listen",
                                        "admin_listen",
                                        "port_file",
                                        "allow_insecure",
                                        "tls_cert_file",
                                        "tls_key_file",
                                        "tls_client_ca_file",
                                        "policy_file",
                                        "reflection",
                                        "channelz",
                                        "upstream_url",
                                        "api_key_file",
                                        "webhook_token_file",
                                        "upstream_calls_per_minute",
                                        "upstream_timeout",
                                        "submit_timeout",
                                        "active_poll_interval",
                                        "idle_poll_interval",
                                        "settle_lists",
                                        "settle_time",
                                        "markers",
                                        "store",
                                        "transfer_hosts",
                                        "max_concurrent_transfers",
                                        "transfer_idle_timeout",
                                        "max_watchers",
                                        "max_watchers_per_caller",
                                        "max_stream_age",
                                        "watch_window_changes",
                                        "watch_window_age",
                                        "drain_delay",
                                        "drain_time",
                                        "log_level"};

absl::Status Bad(absl::string_view flag, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", what));
}

absl::CommandLineFlag* FindFlag(absl::string_view name) {
  if (std::find(std::begin(kFlags), std::end(kFlags), name) == std::end(kFlags)) return nullptr;
  return absl::FindCommandLineFlag(name);
}

absl::string_view KindOf(const absl::CommandLineFlag& flag) {
  if (flag.IsOfType<bool>()) return "true or false";
  if (flag.IsOfType<int>()) return "a whole number";
  if (flag.IsOfType<absl::Duration>()) return "a duration such as 15s or 5m";
  return "text";
}

absl::Status SetFlag(absl::CommandLineFlag& flag, absl::string_view value,
                     absl::string_view origin) {
  std::string error;
  if (flag.ParseFrom(value, &error)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(origin, ": '", value, "' is not ", KindOf(flag)));
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

absl::Status UnknownFlag(absl::string_view name) {
  const auto nearest = std::min_element(std::begin(kFlags), std::end(kFlags), [&](auto a, auto b) {
    return EditDistance(name, a) < EditDistance(name, b);
  });
  const bool near = EditDistance(name, *nearest) <= std::max<size_t>(2, nearest->size() / 3);
  return absl::NotFoundError(absl::StrCat(
      "there is no flag --", name, near ? absl::StrCat("; did you mean --", *nearest, "?") : "",
      " (--help lists them)"));
}

// The flags that the command line gave, by name.
absl::StatusOr<std::vector<std::string>> ApplyArguments(const std::vector<std::string>& arguments) {
  std::vector<std::string> given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    absl::string_view argument = arguments[i];
    if (!absl::ConsumePrefix(&argument, "--"))
      return absl::NotFoundError(absl::StrCat("'", argument, "' is no flag (--help lists them)"));
    const size_t equals = argument.find('=');
    absl::string_view name = argument.substr(0, equals);
    std::optional<std::string> value;
    if (equals != argument.npos) value = std::string(argument.substr(equals + 1));
    absl::CommandLineFlag* flag = FindFlag(name);
    if (flag == nullptr && !value && absl::StartsWith(name, "no")) {
      flag = FindFlag(name.substr(2));
      if (flag != nullptr && !flag->IsOfType<bool>()) flag = nullptr;
      if (flag != nullptr) value = "false";
    }
    if (flag == nullptr) return UnknownFlag(name);
    if (!value && flag->IsOfType<bool>()) value = "true";
    if (!value && i + 1 < arguments.size()) value = arguments[++i];
    if (!value) return Bad(name, absl::StrCat("needs a value: ", KindOf(*flag)));
    RETURN_IF_ERROR(SetFlag(*flag, *value, absl::StrCat("--", flag->Name())));
    given.emplace_back(flag->Name());
  }
  return given;
}

// Adds to `given` what the environment gave.
absl::Status ApplyEnvironment(const Environment& environment, std::vector<std::string>& given) {
  for (absl::string_view name : kFlags) {
    if (std::find(given.begin(), given.end(), name) != given.end()) continue;
    const std::string variable = absl::StrCat("FINETUNE_GATEWAY_", absl::AsciiStrToUpper(name));
    const char* value = environment(variable);
    if (value == nullptr) continue;
    RETURN_IF_ERROR(SetFlag(*FindFlag(name), value, variable));
    given.emplace_back(name);
  }
  return absl::OkStatus();
}

absl::StatusOr<Address> ReadAddress(absl::string_view flag, const std::string& text) {
  const size_t colon = text.rfind(':');
  Address address;
  if (colon == text.npos || colon == 0 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &address.port) || address.port < 0 ||
      address.port > 65535)
    return Bad(flag, absl::StrCat("'", text, "' is not HOST:PORT"));
  address.host = text.substr(0, colon);
  const bool bracketed = address.host.front() == '[' && address.host.back() == ']';
  if (absl::StrContains(address.host, ":") != bracketed)
    return Bad(flag, absl::StrCat("'", text, "' is not HOST:PORT (IPv6 goes in brackets)"));
  return address;
}

absl::StatusOr<std::string> ReadUpstreamUrl(std::string url) {
  absl::string_view rest = url;
  if (!absl::ConsumePrefix(&rest, "https://") && !absl::ConsumePrefix(&rest, "http://"))
    return Bad("upstream_url", absl::StrCat("'", url, "' is not an http or https URL"));
  const absl::string_view authority = rest.substr(0, rest.find('/'));
  // The URL itself is not shown: it may hold a password.
  if (absl::StrContains(authority, "@"))
    return Bad("upstream_url", "must not hold a user name or password");
  if (authority.empty() || url.find_first_of(" \t?#") != url.npos)
    return Bad("upstream_url", absl::StrCat("'", url, "' is not the URL of an API"));
  while (absl::EndsWith(url, "/")) url.pop_back();
  return url;
}

absl::StatusOr<std::string> ReadStore(const std::string& spec, const Environment& environment) {
  absl::string_view path = spec;
  if (absl::StartsWith(spec, "postgresql:") || absl::StartsWith(spec, "postgres:"))
    return Bad("store", "this build has no PostgreSQL store; use sqlite:PATH");
  if (!absl::ConsumePrefix(&path, "sqlite:"))
    return Bad("store", absl::StrCat("'", spec, "' is not sqlite:PATH"));
  if (!path.empty()) return std::string(path);
  constexpr absl::string_view kFile = "finetune-gateway/store.db";
  const char* state = environment("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return absl::StrCat(state, "/", kFile);
  const char* home = environment("HOME");
  if (home != nullptr && *home == '/') return absl::StrCat(home, "/.local/state/", kFile);
  return Bad("store", "there is no home folder to put the record into; use sqlite:PATH");
}

absl::StatusOr<LogLevel> ReadLogLevel(const std::string& text) {
  constexpr absl::string_view kNames[] = {"debug", "info", "warning", "error"};
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (text == kNames[i]) return static_cast<LogLevel>(i);
  return Bad("log_level", absl::StrCat("'", text, "' is not debug, info, warning or error"));
}

absl::Status CheckAtLeast(absl::string_view flag, absl::Duration value, absl::Duration least) {
  if (value >= least && value < absl::InfiniteDuration()) return absl::OkStatus();
  return Bad(flag, absl::StrCat("must be at least ", absl::FormatDuration(least), ", not ",
                                absl::FormatDuration(value)));
}

absl::Status CheckAtLeast(absl::string_view flag, int value, int least) {
  if (value >= least) return absl::OkStatus();
  return Bad(flag, absl::StrCat("must be at least ", least, ", not ", value));
}

absl::Status CheckRanges(const Config& config) {
  const absl::Duration soon = absl::Milliseconds(10);
  RETURN_IF_ERROR(CheckAtLeast("upstream_timeout", config.upstream_timeout, soon));
  RETURN_IF_ERROR(CheckAtLeast("submit_timeout", config.submit_timeout, soon));
  RETURN_IF_ERROR(CheckAtLeast("active_poll_interval", config.active_poll_interval, soon));
  RETURN_IF_ERROR(
      CheckAtLeast("idle_poll_interval", config.idle_poll_interval, config.active_poll_interval));
  RETURN_IF_ERROR(CheckAtLeast("settle_time", config.settle_time, absl::ZeroDuration()));
  RETURN_IF_ERROR(CheckAtLeast("max_stream_age", config.max_stream_age, absl::Seconds(1)));
  RETURN_IF_ERROR(CheckAtLeast("watch_window_age", config.watch_window_age, absl::Seconds(1)));
  RETURN_IF_ERROR(CheckAtLeast("drain_delay", config.drain_delay, absl::ZeroDuration()));
  RETURN_IF_ERROR(CheckAtLeast("drain_time", config.drain_time, absl::ZeroDuration()));
  RETURN_IF_ERROR(CheckAtLeast("upstream_calls_per_minute", config.upstream_calls_per_minute, 1));
  RETURN_IF_ERROR(CheckAtLeast("settle_lists", config.settle_lists, 1));
  RETURN_IF_ERROR(CheckAtLeast("max_concurrent_transfers", config.max_concurrent_transfers, 1));
  RETURN_IF_ERROR(
      CheckAtLeast("transfer_idle_timeout", config.transfer_idle_timeout, absl::Milliseconds(100)));
  RETURN_IF_ERROR(CheckAtLeast("max_watchers", config.max_watchers, 0));
  RETURN_IF_ERROR(CheckAtLeast("max_watchers_per_caller", config.max_watchers_per_caller, 0));
  return CheckAtLeast("watch_window_changes", config.watch_window_changes, 0);
}

void ReadPlainFlags(Config& config) {
  config.port_file = absl::GetFlag(FLAGS_port_file);
  config.allow_insecure = absl::GetFlag(FLAGS_allow_insecure);
  config.tls = {.cert = absl::GetFlag(FLAGS_tls_cert_file),
                .key = absl::GetFlag(FLAGS_tls_key_file),
                .client_ca = absl::GetFlag(FLAGS_tls_client_ca_file)};
  config.policy_file = absl::GetFlag(FLAGS_policy_file);
  config.reflection = absl::GetFlag(FLAGS_reflection);
  config.channelz = absl::GetFlag(FLAGS_channelz);
  config.api_key_file = absl::GetFlag(FLAGS_api_key_file);
  config.webhook_token_file = absl::GetFlag(FLAGS_webhook_token_file);
  config.upstream_calls_per_minute = absl::GetFlag(FLAGS_upstream_calls_per_minute);
  config.upstream_timeout = absl::GetFlag(FLAGS_upstream_timeout);
  config.submit_timeout = absl::GetFlag(FLAGS_submit_timeout);
  config.active_poll_interval = absl::GetFlag(FLAGS_active_poll_interval);
  config.idle_poll_interval = absl::GetFlag(FLAGS_idle_poll_interval);
  config.settle_lists = absl::GetFlag(FLAGS_settle_lists);
  config.settle_time = absl::GetFlag(FLAGS_settle_time);
  config.markers = absl::GetFlag(FLAGS_markers);
  config.transfer_hosts =
      absl::StrSplit(absl::GetFlag(FLAGS_transfer_hosts), ',', absl::SkipWhitespace());
  config.max_concurrent_transfers = absl::GetFlag(FLAGS_max_concurrent_transfers);
  config.transfer_idle_timeout = absl::GetFlag(FLAGS_transfer_idle_timeout);
  config.max_watchers = absl::GetFlag(FLAGS_max_watchers);
  config.max_watchers_per_caller = absl::GetFlag(FLAGS_max_watchers_per_caller);
  config.max_stream_age = absl::GetFlag(FLAGS_max_stream_age);
  config.watch_window_changes = absl::GetFlag(FLAGS_watch_window_changes);
  config.watch_window_age = absl::GetFlag(FLAGS_watch_window_age);
  config.drain_delay = absl::GetFlag(FLAGS_drain_delay);
  config.drain_time = absl::GetFlag(FLAGS_drain_time);
}

}  // namespace

absl::StatusOr<Config> ReadConfig(const std::vector<std::string>& arguments,
                                  const Environment& environment) {
  ASSIGN_OR_RETURN(std::vector<std::string> given, ApplyArguments(arguments));
  RETURN_IF_ERROR(ApplyEnvironment(environment, given));
  Config config;
  ReadPlainFlags(config);
  const auto open_or_asked_for = [&](absl::string_view flag) {
    return config.policy_file.empty() || std::find(given.begin(), given.end(), flag) != given.end();
  };
  config.reflection = config.reflection && open_or_asked_for("reflection");
  config.channelz = config.channelz && open_or_asked_for("channelz");
  ASSIGN_OR_RETURN(config.listen, ReadAddress("listen", absl::GetFlag(FLAGS_listen)));
  ASSIGN_OR_RETURN(config.webhook_listen,
                   ReadAddress("webhook_listen", absl::GetFlag(FLAGS_webhook_listen)));
  ASSIGN_OR_RETURN(config.admin_listen,
                   ReadAddress("admin_listen", absl::GetFlag(FLAGS_admin_listen)));
  ASSIGN_OR_RETURN(config.upstream_url, ReadUpstreamUrl(absl::GetFlag(FLAGS_upstream_url)));
  ASSIGN_OR_RETURN(config.sqlite_path, ReadStore(absl::GetFlag(FLAGS_store), environment));
  ASSIGN_OR_RETURN(config.log_level, ReadLogLevel(absl::GetFlag(FLAGS_log_level)));
  ASSIGN_OR_RETURN(config.traces, ReadTraceSettings(environment));
  RETURN_IF_ERROR(CheckRanges(config));
  RETURN_IF_ERROR(CheckBinding(config.listen.host, config.tls, !config.policy_file.empty(),
                               config.allow_insecure));
  return config;
}

std::string HelpText() {
  std::string text =
      "finetune-gateway: one gRPC service between a company's services and Segmind's fine-tuning "
      "API.\n\n"
      "Every flag can come from the environment as FINETUNE_GATEWAY_ and its name in capitals; the "
      "flag wins.\nSecrets come only from files, or (the API key) from SEGMIND_API_KEY.\n"
      "With OTEL_EXPORTER_OTLP_ENDPOINT traces go to that collector, by OpenTelemetry's other "
      "variables.\n\n";
  for (absl::string_view name : kFlags) {
    const absl::CommandLineFlag& flag = *FindFlag(name);
    absl::StrAppend(&text, "  --", name, " (", flag.DefaultValue(), ")\n      ", flag.Help(), "\n");
  }
  absl::StrAppend(&text, "  --help, --version\n");
  return text;
}

}  // namespace finetune
