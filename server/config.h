#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/tls_files.h"
#include "server/base/environment.h"
#include "server/base/log.h"
#include "server/otlp/trace_settings.h"

namespace finetune {

// Where to listen.
struct Address {
  std::string host;  // IPv6 in brackets.
  int port = 0;      // 0: any.
};

// The service's settings, checked. server/flags.cc says what each means, its unit and its default.
struct Config {
  Address listen;
  Address webhook_listen;
  Address admin_listen;
  bool page = false;
  std::vector<std::string> page_hosts;
  std::string port_file;
  bool allow_insecure = false;
  TlsFiles tls;
  std::string policy_file;  // Empty: anybody who reaches the port may do everything.
  bool reflection = false;
  bool channelz = false;

  std::string upstream_url;
  std::string api_key_file;        // Empty: SEGMIND_API_KEY.
  std::string webhook_token_file;  // Empty: no webhook is accepted.
  int upstream_calls_per_minute = 0;
  absl::Duration upstream_timeout;
  std::string upstream_ca_file;  // Empty: SSL_CERT_FILE, or the system's.
  int max_upstream_answer_bytes = 0;
  int max_listed_jobs = 0;
  absl::Duration submit_timeout;
  absl::Duration active_poll_interval;
  absl::Duration idle_poll_interval;
  int settle_lists = 0;
  absl::Duration settle_time;
  absl::Duration unknown_state_timeout;
  absl::Duration credits_poll_interval;  // Zero: never.
  bool require_credits = false;
  bool markers = false;

  // One of the two.
  std::string sqlite_path;
  std::string postgres_url;
  std::string store_password_file;
  std::string store_ca_file;
  bool accept_lost_record = false;
  absl::Duration forget_lost_after;
  std::vector<std::string> transfer_hosts;
  int max_concurrent_transfers = 0;
  absl::Duration transfer_idle_timeout;
  int transfer_least_speed = 0;
  bool check_datasets = true;

  std::string replica_name;  // Empty: by the environment or the machine.

  int max_watchers = 0;
  int max_watchers_per_caller = 0;
  absl::Duration max_stream_age;
  int watch_window_changes = 0;
  absl::Duration watch_window_age;

  absl::Duration drain_delay;
  absl::Duration drain_time;
  LogLevel log_level = LogLevel::kInfo;
  TraceSettings traces;

  bool check = false;  // Only check whether the gateway would start.

  // What was not understood and stops nothing, each in a sentence for the log.
  std::vector<std::string> warnings;
};

// Reads flags and, for those not given, FINETUNE_GATEWAY_<FLAG>; and OpenTelemetry's variables.
// Errors are one sentence: NOT_FOUND for an unknown flag, INVALID_ARGUMENT for a bad value.
absl::StatusOr<Config> ReadConfig(const std::vector<std::string>& arguments,
                                  const Environment& environment);

// What --help prints: every flag with its meaning and default.
std::string HelpText();

}  // namespace finetune
