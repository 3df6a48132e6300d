#include "server/gateway.h"

#include <algorithm>
#include <functional>
#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/access/key_fetch.h"
#include "server/access/policy_authenticator.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/http/curl_http_client.h"
#include "server/http/curl_streamer.h"
#include "server/open_store.h"
#include "server/port_file.h"
#include "server/segmind/api_key.h"
#include "server/service/listener_probe.h"
#include "server/startup_warnings.h"
#include "server/store/postgres_store.h"

namespace finetune {
namespace {

// How long before gRPC ends the remaining calls creates are answered with what is known.
constexpr absl::Duration kLastAnswers = absl::Seconds(1);
constexpr absl::Duration kIdleFarewell = absl::Milliseconds(500);
constexpr int kWatchThreads = 4;  // At least.
// How long a collector that hangs may delay the end.
constexpr absl::Duration kLastExport = absl::Seconds(2);
constexpr absl::Duration kProbeTimeout = absl::Seconds(1);

// One thread answers a get with less CPU than two would, and serves some 60,000 a second, so there
// is more than one only on machines with many CPUs.
int CallThreads() { return std::clamp(CpuLimit() / 4, 1, 4); }

// The error, preceded by the flag that it is about.
absl::Status Blame(absl::string_view flag, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("--", flag, ": ", status.message()));
}

SegmindClient::Options SegmindOptions(const Config& config, CallBudget* budget) {
  return {.url = config.upstream_url,
          .calls_per_minute = config.upstream_calls_per_minute,
          .call_budget = budget,
          .read_timeout = config.upstream_timeout,
          .list_timeout = 4 * config.upstream_timeout,
          .submit_timeout = config.submit_timeout,
          .max_answer_bytes = static_cast<size_t>(config.max_upstream_answer_bytes),
          .max_listed_jobs = static_cast<size_t>(config.max_listed_jobs),
          .credits_good_for = std::max(absl::Hours(1), 3 * config.credits_poll_interval)};
}

CallGate::Options GateOptions(const Config& config) {
  CallGate::Options options{.watches = FairShare::Limits::Of(config.max_watchers),
                            .transfers = FairShare::Limits::Of(config.max_concurrent_transfers)};
  options.watches.retry_after = options.transfers.retry_after = absl::Seconds(2);
  if (config.max_watchers_per_caller < config.max_watchers)
    options.watches_of_one_caller = config.max_watchers_per_caller;
  return options;
}

std::string Shown(const Address& address, int port) {
  return absl::StrCat(address.host, ":", port);
}

}  // namespace

Gateway::Gateway(const Config& config) : config_(config), clock_(MakeRealClock()) {
  start_time_ = clock_->Now();
}

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Create(const Config& config,
                                                         const std::function<bool()>& should_stop) {
  std::unique_ptr<Gateway> gateway(new Gateway(config));
  RETURN_IF_ERROR(gateway->Open(should_stop));
  return gateway;
}

absl::Status Gateway::Open(const std::function<bool()>& should_stop) {
  RETURN_IF_ERROR(OpenFiles());
  ASSIGN_OR_RETURN(http_, CurlHttpClient::Create({.ca_file = UpstreamCa()}));
  RETURN_IF_ERROR(OpenPolicy());
  LogWarnings();
  OpenTracer();
  RETURN_IF_ERROR(OpenRecord(should_stop));
  RETURN_IF_ERROR(OpenSegmind(should_stop));
  MakeReadiness();
  MakeDoors();
  MakeService();
  gateway_metrics_ = std::make_unique<GatewayMetrics>(GatewayMetrics::Parts{.catalog = *catalog_,
                                                                            .recorder = *recorder_,
                                                                            .segmind = *segmind_,
                                                                            .tracker = *tracker_,
                                                                            .clock = *clock_,
                                                                            .metrics = metrics_},
                                                      start_time_);
  if (fleet_->is_shared())
    fleet_metrics_ = std::make_unique<FleetMetrics>(*fleet_, *clock_, metrics_);
  return absl::OkStatus();
}

absl::Status Gateway::OpenFiles() {
  rereader_ = std::make_unique<FileRereader>(*clock_, metrics_);
  RETURN_IF_ERROR(OpenCredentials());
  auto key = MakeApiKeySource(config_.api_key_file, *rereader_);
  if (!key.ok()) return Blame("api_key_file", key.status());
  key_ = *std::move(key);
  auto tokens = WebhookTokens::Open(config_.webhook_token_file, *rereader_);
  if (!tokens.ok()) return Blame("webhook_token_file", tokens.status());
  tokens_ = *std::move(tokens);
  if (!config_.upstream_ca_file.empty()) {
    auto opened = AuthoritiesFile::Open("upstream_ca", config_.upstream_ca_file, *rereader_);
    if (!opened.ok()) return Blame("upstream_ca_file", opened.status());
    upstream_ca_ = *std::move(opened);
  }
  return absl::OkStatus();
}

std::string Gateway::UpstreamCa() const {
  return upstream_ca_ == nullptr ? "" : upstream_ca_->path();
}

absl::Status Gateway::OpenRecord(const std::function<bool()>& should_stop) {
  auto store = OpenStore(config_, should_stop);
  if (!store.ok()) return Blame("store", store.status());
  store_ = *std::move(store);
  fleet_ = MakeFleet(config_, *store_, clock_->ToWall(start_time_));

  catalog_ = std::make_unique<Catalog>(
      Catalog::Options{.window_changes = static_cast<size_t>(config_.watch_window_changes),
                       .window_age = config_.watch_window_age},
      metrics_);
  recorder_ =
      std::make_unique<Recorder>(Recorder::Options{.forget_lost_after = config_.forget_lost_after},
                                 *store_, *catalog_, *clock_, metrics_);
  RETURN_IF_ERROR(AwaitRecord([this] { return recorder_->Load(); }, should_stop));
  job_metrics_ = std::make_unique<JobMetrics>(*clock_, metrics_);
  job_metrics_->Load(*catalog_->view());
  job_waits_ = std::make_unique<JobWaits>(*catalog_, *clock_);
  watch_queues_ = std::make_unique<WatchQueues>(std::max(kWatchThreads, CpuLimit()));
  hub_ = std::make_unique<WatchHub>(
      WatchHub::Options{.max_age = config_.max_stream_age, .long_work = &long_work_}, *catalog_,
      *clock_, metrics_, watch_queues_->waiters());
  recorder_->AddListener(hub_.get());
  recorder_->AddListener(job_waits_.get());
  recorder_->AddListener(job_metrics_.get());
  return absl::OkStatus();
}

absl::Status Gateway::AwaitRecord(const std::function<absl::Status()>& attempt,
                                  const std::function<bool()>& should_stop) {
  const absl::Status status =
      recorder_->is_shared() ? AwaitDatabase(attempt, should_stop) : attempt();
  return status.ok() ? status : Blame("store", status);
}

absl::Status Gateway::OpenSegmind(const std::function<bool()>& should_stop) {
  auto policy = AddressPolicy::Create(config_.transfer_hosts, config_.upstream_url);
  if (!policy.ok()) return Blame("transfer_hosts", policy.status());
  ASSIGN_OR_RETURN(streamer_, CurlStreamer::Create({.ca_file = UpstreamCa()}, *std::move(policy)));
  segmind_ = std::make_unique<SegmindClient>(SegmindOptions(config_, fleet_->calls()), *http_,
                                             *key_, *clock_, metrics_);
  tracker_ = std::make_unique<Tracker>(
      Tracker::Options{.active_poll_interval = config_.active_poll_interval,
                       .idle_poll_interval = config_.idle_poll_interval,
                       .settle_lists = config_.settle_lists,
                       .settle_time = config_.settle_time,
                       .unknown_state_timeout = config_.unknown_state_timeout,
                       .credits_poll_interval = config_.credits_poll_interval,
                       .tracer = tracer_.get()},
      Tracker::Parts{.segmind = *segmind_,
                     .recorder = *recorder_,
                     .catalog = *catalog_,
                     .fleet = *fleet_,
                     .clock = *clock_,
                     .metrics = metrics_});
  submitter_ = std::make_unique<Submitter>(
      Submitter::Options{.markers = config_.markers, .require_credits = config_.require_credits},
      *segmind_, *recorder_, *catalog_, *tracker_, *clock_, metrics_);
  recorder_->AddListener(submitter_.get());
  RETURN_IF_ERROR(AwaitRecord([this] { return submitter_->Recover(); }, should_stop));
  spending_ = std::make_unique<SpendingReader>(*recorder_);
  spending_summary_ = std::make_unique<SpendingSummary>(*spending_, *clock_);
  updater_ = std::make_unique<Updater>(*segmind_, *recorder_, *catalog_);
  looks_ = std::make_unique<DatasetLooks>(*streamer_, config_.upstream_url);
  transfers_ = std::make_unique<Transfers>(
      Transfers::Options{.max_concurrent = config_.max_concurrent_transfers,
                         .idle_timeout = config_.transfer_idle_timeout,
                         .least_bytes_per_second = config_.transfer_least_speed},
      *segmind_, *streamer_, *clock_, metrics_);
  return absl::OkStatus();
}

void Gateway::MakeReadiness() {
  readiness_ = std::make_unique<Readiness>(Readiness::Parts{
      .catalog = *catalog_,
      .clock = *clock_,
      .started = start_time_,
      .upstream_state =
          [this] { return pb::GatewayStatus::UpstreamState_Name(tracker_->upstream_state()); },
      .has_all_keys =
          policy_ == nullptr ? std::function<bool()>() : [this] { return policy_->HasAllKeys(); }});
}

void Gateway::MakeDoors() {
  webhook_door_ = std::make_unique<WebhookDoor>(
      *tokens_,
      [this](std::string id, const TraceContext& trace) { tracker_->Hint(std::move(id), trace); },
      *clock_, metrics_, *tracer_);
  if (config_.page)
    page_door_ = std::make_unique<PageDoor>(
        PageDoor::Options{.hosts = config_.page_hosts},
        PageSource{.hub = *hub_,
                   .clock = *clock_,
                   .status = [this] { return service_->CommonStatus(); },
                   .spending = [this] { return spending_summary_->Get(); }},
        *catalog_);
  admin_door_ = std::make_unique<AdminDoor>(
      metrics_, [this] { UpdateMetrics(); }, [this] { return ProbeGrpcPort(); },
      [this] {
        RETURN_IF_ERROR(readiness_->status());
        return ProbeGrpcPort();
      },
      page_door_.get());
}

absl::Status Gateway::ProbeGrpcPort() const {
  // It may be closed to this very machine, for some seconds.
  if (connection_guard_->closes_door()) return absl::OkStatus();
  return ProbeListener(config_.listen.host, grpc_server_->port(), config_.tls.enabled(),
                       kProbeTimeout);
}

void Gateway::MakeService() {
  gate_ = std::make_unique<CallGate>(GateOptions(config_), *authenticator_, *clock_, metrics_,
                                     *tracer_);
  if (policy_) {
    policy_->OnChangeDo([this] {
      KnowCallers();
      gate_->JudgeLastingCalls();
    });
    KnowCallers();
  }
  service_ = std::make_unique<FineTuneService>(
      ServiceParts{.catalog = *catalog_,
                   .tracker = *tracker_,
                   .submitter = *submitter_,
                   .spending = *spending_,
                   .updater = *updater_,
                   .job_waits = *job_waits_,
                   .hub = *hub_,
                   .watch_queues = *watch_queues_,
                   .segmind = *segmind_,
                   .clock = *clock_,
                   .recorder = *recorder_,
                   .last_webhook_time = [this] { return webhook_door_->last_event_time(); },
                   .transfers = transfers_.get(),
                   .looks = looks_.get(),
                   .look_at_creates = config_.check_datasets,
                   .replica = ReplicaName(config_),
                   .fleet = *fleet_,
                   .store = store_->system(),
                   .long_work = &long_work_},
      *gate_);
}

void Gateway::KnowCallers() {
  const auto policy = policy_->current();
  job_metrics_->KnowCallers(policy->Names());
  submitter_->KnowSpenders(policy->Spenders());
}

absl::Status Gateway::OpenCredentials() {
  const TlsFiles& files = config_.tls;
  RETURN_IF_ERROR(CheckTlsFlags(files));
  if (files.enabled()) {
    ASSIGN_OR_RETURN(certificates_, ServerCertificates::Open(files, *rereader_, *clock_, metrics_));
    credentials_ = certificates_->MakeCredentials();
  } else {
    credentials_ = grpc::InsecureServerCredentials();
  }
  return absl::OkStatus();
}

void Gateway::LogWarnings() const {
  std::optional<Validity> certificate;
  if (certificates_) certificate = certificates_->validity();
  std::vector<std::string> warnings = config_.warnings;
  for (std::string& warning :
       FindStartupWarnings(config_, certificate ? &*certificate : nullptr,
                           policy_ ? policy_->current().get() : nullptr, clock_->WallNow()))
    warnings.push_back(std::move(warning));
  for (const std::string& warning : warnings) Log(LogLevel::kWarning, warning);
}

void Gateway::OpenTracer() {
  if (!config_.traces.enabled()) {
    tracer_ = std::make_unique<Tracer>();
    return;
  }
  std::string ca_file;
  if (!config_.traces.ca_file.empty()) {
    auto opened = AuthoritiesFile::Open("traces_ca", config_.traces.ca_file, *rereader_);
    if (opened.ok()) {
      traces_ca_ = *std::move(opened);
      ca_file = traces_ca_->path();
    } else {
      Log(LogLevel::kWarning, "traces are sent to whom the system's authorities trust",
          {{"error", std::string(opened.status().message())}});
    }
  }
  auto http = CurlHttpClient::Create({.thread_name = "curl-spans", .ca_file = ca_file});
  if (!http.ok()) {
    Log(LogLevel::kWarning, "nothing is traced", {{"error", std::string(http.status().message())}});
    tracer_ = std::make_unique<Tracer>();
    return;
  }
  exporter_ = std::make_unique<SpanExporter>(config_.traces, *std::move(http), *clock_, metrics_);
  tracer_ = std::make_unique<Tracer>(config_.traces.sampling, *exporter_, *clock_);
}

absl::Status Gateway::OpenPolicy() {
  if (config_.policy_file.empty()) {
    authenticator_ = MakeOpenAuthenticator();
    return absl::OkStatus();
  }
  auto policy = PolicyFile::Open(config_.policy_file, MakeKeyFetch(*http_, *rereader_), *rereader_,
                                 *clock_, metrics_);
  if (!policy.ok()) return Blame("policy_file", policy.status());
  policy_ = *std::move(policy);
  authenticator_ = MakePolicyAuthenticator(*policy_);
  return absl::OkStatus();
}

absl::Status Gateway::Start() {
  if (absl::Status opened = OpenDoors(); !opened.ok()) return opened;
  tracker_->Start();
  idle_memory_.Start();
  readiness_->Follow([this] { grpc_server_->SetServing(true); });
  if (!config_.port_file.empty()) {
    Ports ports{.grpc = grpc_server_->port(), .admin = admin_server_->port()};
    if (webhook_server_) ports.webhook = webhook_server_->port();
    RETURN_IF_ERROR(WritePortFile(config_.port_file, ports));
  }
  Log(LogLevel::kInfo, "serving",
      {{"version", FINETUNE_VERSION},
       {"grpc", Shown(config_.listen, grpc_server_->port())},
       {"webhook", Shown(config_.webhook_listen, webhook_server_->port())},
       {"webhook_tokens", !config_.webhook_token_file.empty()},
       {"admin", Shown(config_.admin_listen, admin_server_->port())},
       {"page", config_.page},
       {"tls", config_.tls.enabled()},
       {"client_certificates", config_.tls.mutual()},
       {"policy", config_.policy_file},
       {"upstream", config_.upstream_url},
       {"traces_to", config_.traces.collector},
       {"store",
        config_.postgres_url.empty() ? config_.sqlite_path : ShownPgUrl(config_.postgres_url)},
       {"fine_tunes", catalog_->view()->size()},
       {"revision", catalog_->view()->revision()}});
  return absl::OkStatus();
}

absl::Status Gateway::OpenDoors() {
  auto grpc_server = GrpcServer::Start({.host = config_.listen.host,
                                        .port = config_.listen.port,
                                        .credentials = credentials_,
                                        .reflection = config_.reflection,
                                        .channelz = config_.channelz,
                                        .threads = CallThreads()},
                                       *service_, *gate_);
  if (!grpc_server.ok()) return Blame("listen", grpc_server.status());
  grpc_server_ = *std::move(grpc_server);
  connection_guard_ = std::make_unique<ConnectionGuard>(
      grpc_server_->port(), /*tls=*/!config_.tls.cert.empty(), gate_->lasting_calls(), metrics_);
  connection_guard_->Start();
  if (webhook_door_) {
    auto server = HttpServer::Start({.host = config_.webhook_listen.host,
                                     .port = config_.webhook_listen.port,
                                     .name = "webhook"},
                                    *webhook_door_);
    if (!server.ok()) return Blame("webhook_listen", server.status());
    webhook_server_ = *std::move(server);
  }
  auto server = HttpServer::Start(
      {.host = config_.admin_listen.host, .port = config_.admin_listen.port, .name = "admin"},
      *admin_door_);
  if (!server.ok()) return Blame("admin_listen", server.status());
  admin_server_ = *std::move(server);
  return absl::OkStatus();
}

void Gateway::Drain() {
  Log(LogLevel::kInfo, "draining");
  readiness_->Drain();
  // Another gateway can then read Segmind while this one ends its calls.
  fleet_->Retire();
  grpc_server_->SetServing(false);
  absl::SleepFor(config_.drain_delay);
  Close(config_.drain_time);
  Log(LogLevel::kInfo, "drained");
}

void Gateway::Close(absl::Duration grace) {
  if (std::exchange(closed_, true)) return;
  long_work_.Hurry();
  if (readiness_) {
    readiness_->Drain();
    readiness_->Stop();
  }
  if (grpc_server_) {
    auto ended = std::make_shared<std::promise<void>>();
    // Jitter spreads the reconnections of many watchers; a few watchers need none.
    const absl::Duration over = std::min(grace / 2, hub_->watcher_count() * absl::Milliseconds(10));
    const absl::Time streams_end = clock_->Now() + grace;
    hub_->Drain(over, grace / 2, [ended] { ended->set_value(); });
    ended->get_future().wait_for(absl::ToChronoNanoseconds(grace));
    transfers_->Drain(std::max(absl::ZeroDuration(), streams_end - clock_->Now()));
    // Calls are served until gRPC's GOAWAY, which sends clients elsewhere. Only calls that would
    // outlast it end here, and what a client then repeats no longer comes to this process.
    service_->Drain();
    segmind_->EndQueue();
    // If no calls are under way, only idle clients would be waited for: gRPC waits until they
    // acknowledge its GOAWAY, and clients that do not poll take seconds.
    const bool busy = gate_->unary_calls() > 0;
    const absl::Duration farewell = busy ? grace : std::min(grace, kIdleFarewell);
    const absl::Time deadline = clock_->Now() + farewell;
    submitter_->BeginDrain(deadline - std::min(farewell / 4, kLastAnswers));
    CloseGrpc(deadline);
  }
  webhook_server_.reset();
  if (rereader_) rereader_->Stop();
  if (policy_) policy_->Stop();
  if (submitter_) submitter_->Stop(clock_->Now());
  if (tracker_) tracker_->Stop();
  if (http_) http_->Shutdown();
  if (streamer_) streamer_->Shutdown();
  if (fleet_) fleet_->Stop();
  if (recorder_) recorder_->Stop();
  // Last, for the spans of what has just ended.
  if (exporter_) exporter_->Stop(clock_->Now() + kLastExport);
  admin_server_.reset();
}

void Gateway::CloseGrpc(absl::Time deadline) {
  // A waiting call would keep the server from shutting down, whatever its own deadline.
  const Clock::TimerId last_resort = clock_->RunAt(deadline, [this] {
    submitter_->Stop(absl::InfinitePast());
    http_->Shutdown();
    streamer_->Shutdown();
    tracker_->Stop();
  });
  grpc_server_->Shutdown(deadline);
  clock_->Cancel(last_resort);
}

Gateway::~Gateway() { Close(absl::ZeroDuration()); }

void Gateway::UpdateMetrics() {
  gateway_metrics_->Update();
  job_metrics_->UpdateAges();
  if (fleet_metrics_) fleet_metrics_->Update();
  process_metrics_.Update();
}

}  // namespace finetune
