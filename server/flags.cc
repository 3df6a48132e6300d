#include "server/flags.h"

#include "server/http/address_policy.h"

namespace finetune {
namespace {

constexpr absl::Duration kLeastWait = absl::Milliseconds(10);
// Whoever stops a process longer than that has mistyped.
constexpr absl::Duration kLongestDrain = absl::Hours(24);

std::vector<Flag> MakeFlags() {
  return {
      {"listen", "127.0.0.1:50051", HostAndPort(&Config::listen),
       "HOST:PORT of the gRPC service; port 0 takes any free port. Beyond loopback it needs TLS "
       "and a policy, or --allow_insecure."},
      {"webhook_listen", "127.0.0.1:8080", HostAndPort(&Config::webhook_listen),
       "HOST:PORT of the webhook door, POST /webhooks/segmind/{token}. Without "
       "--webhook_token_file it accepts nothing."},
      {"admin_listen", "127.0.0.1:9090", HostAndPort(&Config::admin_listen),
       "HOST:PORT of the operators' door: /metrics, /livez, /readyz, and the page."},
      {"page", "true", Switch(&Config::page),
       "Show the page with all jobs, read-only, at / of the operators' door. With --policy_file it "
       "is off unless given, because it is open to everybody who reaches that door."},
      {"page_hosts", "", HostNames(&Config::page_hosts),
       "Names by which browsers may reach the page, with commas between, such as that of a proxy; "
       "addresses, localhost and names without a dot always may."},
      {"port_file", "", Text(&Config::port_file),
       "File that the ports are written to once all doors are open, as a JSON object with grpc, "
       "webhook and admin."},
      {"allow_insecure", "false", Switch(&Config::allow_insecure),
       "Serve beyond loopback without knowing the callers: anyone who reaches the port spends the "
       "account's money."},
      {"tls_cert_file", "", TlsFile(&TlsFiles::cert),
       "PEM file with the service's certificate chain; reread when it changes."},
      {"tls_key_file", "", TlsFile(&TlsFiles::key),
       "PEM file with the certificate's private key; reread when it changes."},
      {"tls_client_ca_file", "", TlsFile(&TlsFiles::client_ca),
       "PEM file with the authorities that sign client certificates, which are then required; "
       "reread when it changes."},
      {"policy_file", "", Text(&Config::policy_file),
       "Who may call, in which role and how much: the proto3 JSON of server/access/policy.proto; "
       "reread when it changes. Without it, anyone who reaches the port may do everything."},
      {"reflection", "true", Switch(&Config::reflection),
       "Serve gRPC reflection, by which clients can ask for the contract. With --policy_file it is "
       "off unless given, because it is open to everybody."},
      {"channelz", "true", Switch(&Config::channelz),
       "Serve gRPC channelz, which shows connections for debugging. With --policy_file it is off "
       "unless given, because it is open to everybody."},
      {"upstream_url", "https://api.segmind.com", ApiUrl(&Config::upstream_url),
       "The URL of Segmind's API, or of the emulator's."},
      {"api_key_file", "", Text(&Config::api_key_file),
       "File with Segmind's API key; reread when it changes. Without it the key comes from the "
       "environment variable SEGMIND_API_KEY."},
      {"webhook_token_file", "", Text(&Config::webhook_token_file),
       "File with the secret in the webhook's URL, at least 22 characters. Each line is a valid "
       "token. Reread when it changes."},
      {"upstream_calls_per_minute", "50", Whole(&Config::upstream_calls_per_minute, 1),
       "The account's rate limit, in calls a minute."},
      {"upstream_timeout", "30s", Time(&Config::upstream_timeout, kLeastWait),
       "Time for one attempt of a call to Segmind. A list may take four times as long; a "
       "submission has --submit_timeout."},
      {"upstream_ca_file", "", Text(&Config::upstream_ca_file),
       "PEM file with authorities to trust for Segmind and its storage, besides those in the "
       "system's directory, such as a company's own for a proxy that inspects TLS. Without it, "
       "SSL_CERT_FILE; SSL_CERT_DIR counts as well. Reread when it changes."},
      {"max_upstream_answer_bytes", "67108864", Whole(&Config::max_upstream_answer_bytes, 1 << 20),
       "The longest answer of Segmind's that is read, compressed or not. A longer one counts as "
       "malformed. A list takes about five times its size in memory."},
      {"max_listed_jobs", "100000", Whole(&Config::max_listed_jobs, 1),
       "The most jobs that Segmind's list may have; each is kept, in about 5 KB of memory. A list "
       "with more counts as malformed."},
      {"submit_timeout", "1m", Time(&Config::submit_timeout, kLeastWait),
       "Time for a submission. After that its outcome is unknown, and the gateway looks for its "
       "job."},
      {"active_poll_interval", "15s", Time(&Config::active_poll_interval, kLeastWait),
       "Time between lists while any job is not in a terminal state."},
      {"idle_poll_interval", "5m", Time(&Config::idle_poll_interval, kLeastWait),
       "Time between lists while all jobs are in a terminal state."},
      {"settle_lists", "3", Whole(&Config::settle_lists, 1),
       "A submission whose outcome is unknown counts as not made once its job is missing from this "
       "many lists ..."},
      {"settle_time", "2m", Time(&Config::settle_time, absl::ZeroDuration()),
       "... over at least this time."},
      {"unknown_state_timeout", "24h", Time(&Config::unknown_state_timeout, absl::ZeroDuration()),
       "A job whose state at Segmind has been an unknown word for this long no longer counts as "
       "active: it does not count towards its caller's limit and is not polled for."},
      {"credits_poll_interval", "15m", Time(&Config::credits_poll_interval, absl::ZeroDuration()),
       "Time between two looks at the credits that Segmind's account has left; 0s: none."},
      {"require_credits", "false", Switch(&Config::require_credits),
       "Refuse a submission, before it is sent, that costs more credits than the account is known "
       "to have left. While that is unknown, Segmind decides."},
      {"markers", "true", Switch(&Config::markers),
       "Put a short marker into the name that Segmind sees, so that a submission whose answer was "
       "lost can be found again."},
      {"store", "sqlite:", StorePlaceValue(),
       "The record: sqlite:PATH for one gateway, or postgresql://USER@HOST:PORT/DATABASE for any "
       "number of them that share it. Without a path, finetune-gateway/store.db under "
       "$XDG_STATE_HOME or ~/.local/state."},
      {"store_password_file", "", Text(&Config::store_password_file),
       "File with the database's password, read at each connection."},
      {"store_ca_file", "", Text(&Config::store_ca_file),
       "File with the authority that the database's certificate is checked against (PEM). Beyond "
       "loopback the connection is encrypted and checked unless the URL's sslmode says otherwise."},
      {"accept_lost_record", "false", Switch(&Config::accept_lost_record),
       "For one start: go on although the record is missing, or lacks what was committed last. "
       "Submissions that were lost with it could then be made, and billed, once more."},
      {"forget_lost_after", "720h", Time(&Config::forget_lost_after, absl::Minutes(1)),
       "Time after which a job that was made elsewhere and is LOST is forgotten."},
      {"transfer_hosts",
       absl::string_view(kDefaultTransferHosts.data(), kDefaultTransferHosts.size()),
       Names(&Config::transfer_hosts),
       "Hosts that datasets are sent to and weights are fetched from, separated by commas: NAME, "
       "*.NAME for all below it, NAME:PORT. The upstream URL's own host is always one of them. "
       "Hosts named in full here, beyond the default ones, may have private addresses."},
      {"max_concurrent_transfers", "64", Whole(&Config::max_concurrent_transfers, 1),
       "How many transfers of datasets and weights may be under way at once. Each takes a few MiB "
       "of memory at most."},
      {"transfer_idle_timeout", "1m", Time(&Config::transfer_idle_timeout, absl::Milliseconds(100)),
       "A transfer in which no byte moves for this long is ended."},
      {"transfer_least_speed", "1024", Whole(&Config::transfer_least_speed, 0),
       "A transfer that moves fewer bytes a second than this over that time is ended, too."},
      {"check_datasets", "true", Switch(&Config::check_datasets),
       "Look at the dataset before a submission: at the first and last bytes behind its URL, for "
       "5s at most. A dataset that cannot be reached from here passes."},
      {"max_watchers", "20000", Whole(&Config::max_watchers, 0),
       "How many watch streams may be open at once."},
      {"max_watchers_per_caller", "20000", Whole(&Config::max_watchers_per_caller, 0),
       "How many watch streams one caller may have open at once."},
      {"replica_name", "", Text(&Config::replica_name),
       "Which of several gateways this is, as GetGatewayStatus tells it. By default $HOSTNAME or "
       "the machine's name."},
      {"max_stream_age", "30m", Time(&Config::max_stream_age, absl::Seconds(1)),
       "The greatest age of a watch stream, varied by up to 10 %. Its client then resumes."},
      {"watch_window_changes", "10000", Whole(&Config::watch_window_changes, 0),
       "How many changes are kept for watchers that resume ..."},
      {"watch_window_age", "1h", Time(&Config::watch_window_age, absl::Seconds(1)),
       "... and how old they may be."},
      {"drain_delay", "5s", Time(&Config::drain_delay, absl::ZeroDuration(), kLongestDrain),
       "On SIGTERM, how long the gateway is unready before it ends anything, so that load "
       "balancers can take the endpoint out."},
      {"drain_time", "10s", Time(&Config::drain_time, absl::ZeroDuration(), kLongestDrain),
       "Time after that for ending streams and finishing calls. What is left is cancelled."},
      {"log_level", "info", Level(&Config::log_level), "debug, info, warning or error."},
      {"check", "false", Switch(&Config::check),
       "Check flags, files, policy and record, print what is wrong, and exit: with 0 if the "
       "gateway would start, else with 1. Works while a gateway is running."},
  };
}

}  // namespace

const std::vector<Flag>& Flags() {
  static const auto* const flags = new std::vector<Flag>(MakeFlags());
  return *flags;
}

}  // namespace finetune
