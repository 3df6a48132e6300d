#include "server/gateway.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/access/key_fetch.h"
#include "server/access/policy_authenticator.h"
#include "server/base/backoff.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/utf8.h"
#include "server/base/uuid.h"
#include "server/http/curl_http_client.h"
#include "server/http/curl_streamer.h"
#include "server/segmind/api_key.h"
#include "server/service/listener_probe.h"
#include "server/startup_warnings.h"
#include "server/store/postgres_fleet.h"
#include "server/store/postgres_store.h"
#include "server/store/sqlite_store.h"

namespace finetune {
namespace {

constexpr absl::Duration kFollowInterval = absl::Milliseconds(100);
// Callers who do not need an issuer that is away are served after this time.
constexpr auto kIssuerPatience = std::chrono::seconds(10);
// Before gRPC ends what is left: creates are told what is known of them.
constexpr absl::Duration kLastAnswers = absl::Seconds(1);
constexpr absl::Duration kIdleFarewell = absl::Milliseconds(500);
constexpr int kWatchThreads = 4;  // At least.
// What a collector that hangs may cost at the end.
constexpr absl::Duration kLastExport = absl::Seconds(2);
constexpr absl::Duration kProbeTimeout = absl::Seconds(1);
constexpr absl::Duration kLogWaitEvery = absl::Seconds(10);

// One takes a get for less CPU than two, and serves some 60,000 a second: more than one only where
// there are many CPUs.
int CallThreads() { return std::clamp(CpuLimit() / 4, 1, 4); }

// The error with the flag that it is about in front.
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

std::string ReplicaName(const Config& config) {
  std::string name = config.replica_name;
  const char* const host = std::getenv("HOSTNAME");
  if (name.empty() && host != nullptr) name = host;
  if (name.empty()) {
    char machine[256] = "";
    gethostname(machine, sizeof(machine) - 1);
    name = machine;
  }
  return ValidUtf8(name, 255);
}

PgTarget TargetOf(const Config& config) {
  return {.url = config.postgres_url,
          .password_file = config.store_password_file,
          .ca_file = config.store_ca_file};
}

// Without the database there is nothing to serve: tries until it is there, unless it says no or the
// process is to end.
absl::Status AwaitDatabase(const std::function<absl::Status()>& attempt,
                           const std::function<bool()>& should_stop) {
  Backoff pauses(absl::Milliseconds(100), absl::Seconds(2));
  absl::Time log_at = absl::InfinitePast();
  while (true) {
    absl::Status status = attempt();
    if (!absl::IsUnavailable(status) || should_stop()) return status;
    if (SteadyNow() >= log_at) {
      Log(LogLevel::kError, "waiting for the database", {{"error", std::string(status.message())}});
      log_at = SteadyNow() + kLogWaitEvery;
    }
    const absl::Time until = SteadyNow() + pauses.Next();
    while (SteadyNow() < until && !should_stop()) absl::SleepFor(absl::Milliseconds(50));
  }
}

absl::StatusOr<std::unique_ptr<Store>> OpenStore(const Config& config,
                                                 const std::function<bool()>& should_stop) {
  if (config.postgres_url.empty()) {
    return OpenSqliteStore(config.sqlite_path, {.accept_lost_record = config.accept_lost_record});
  }
  const PostgresOptions options{
      .target = TargetOf(config),
      .name = ReplicaName(config),
      // It may have been sent as late as its gateway counted as alive, and taken as long as it may.
      .caution = kMemberLease + config.submit_timeout + config.settle_time};
  std::unique_ptr<Store> store;
  const auto open = [&] {
    auto opened = OpenPostgresStore(options);
    if (opened.ok()) store = *std::move(opened);
    return opened.status();
  };
  RETURN_IF_ERROR(AwaitDatabase(open, should_stop));
  return store;
}

std::unique_ptr<Fleet> MakeFleet(const Config& config, const Store& store, absl::Time started) {
  if (config.postgres_url.empty()) {
    return std::make_unique<SoloFleet>(FleetMember{.id = MakeUuid(),
                                                   .name = ReplicaName(config),
                                                   .version = FINETUNE_VERSION,
                                                   .started = started});
  }
  return MakePostgresFleet(
      {.target = TargetOf(config), .calls_per_minute = config.upstream_calls_per_minute},
      store.membership());
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
  RETURN_IF_ERROR(OpenSegmind());
  MakeDoors();
  MakeService();
  RegisterMetrics();
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
  const auto load = [this] { return recorder_->Load(); };
  const absl::Status loaded = recorder_->is_shared() ? AwaitDatabase(load, should_stop) : load();
  if (!loaded.ok()) return Blame("store", loaded);
  had_jobs_ = catalog_->view()->size() > 0;
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

absl::Status Gateway::OpenSegmind() {
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
  if (absl::Status recovered = submitter_->Recover(); !recovered.ok())
    return Blame("store", recovered);
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
      metrics_, [this] { UpdateMetrics(); },
      [this] { return ProbeListener(config_.listen.host, grpc_server_->port(), kProbeTimeout); },
      [this] {
        RETURN_IF_ERROR(Readiness());
        return ProbeListener(config_.listen.host, grpc_server_->port(), kProbeTimeout);
      },
      page_door_.get());
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
  FollowReadiness();
  RETURN_IF_ERROR(WritePorts());
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
  connection_guard_ =
      std::make_unique<ConnectionGuard>(grpc_server_->port(), gate_->lasting_calls(), metrics_);
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

absl::Status Gateway::WritePorts() const {
  if (config_.port_file.empty()) return absl::OkStatus();
  // Whole or not at all: readers may look at any time.
  const std::string draft = absl::StrCat(config_.port_file, ".", getpid(), ".tmp");
  std::ofstream file(draft);
  file << "{\"grpc\": " << grpc_server_->port()
       << ", \"webhook\": " << (webhook_server_ ? std::to_string(webhook_server_->port()) : "null")
       << ", \"admin\": " << admin_server_->port() << "}\n";
  file.close();
  if (!file || std::rename(draft.c_str(), config_.port_file.c_str()) != 0)
    return absl::InvalidArgumentError(
        absl::StrCat("--port_file: cannot write '", config_.port_file, "'"));
  return absl::OkStatus();
}

absl::Status Gateway::Readiness() const {
  if (draining_) return absl::UnavailableError("draining");
  if (!had_jobs_ && catalog_->observe_time() == absl::InfinitePast())
    return absl::UnavailableError(absl::StrCat(
        "the record is empty and Segmind has not been read yet (",
        pb::GatewayStatus::UpstreamState_Name(tracker_->upstream_state()), "); the log says why"));
  const bool patient = std::chrono::steady_clock::now() < started_ + kIssuerPatience;
  if (patient && policy_ && !policy_->HasAllKeys())
    return absl::UnavailableError("waiting for the keys of the policy's JWT issuers");
  return absl::OkStatus();
}

void Gateway::FollowReadiness() {
  MutexLock lock(mu_);
  if (!following_) return;
  if (Readiness().ok()) {
    grpc_server_->SetServing(true);
    Log(LogLevel::kInfo, "ready", {{"fine_tunes", catalog_->view()->size()}});
    return;
  }
  follow_timer_ = clock_->RunAfter(kFollowInterval, [this] { FollowReadiness(); });
}

void Gateway::Drain() {
  Log(LogLevel::kInfo, "draining");
  draining_ = true;
  // Another one reads Segmind while this one ends its calls.
  fleet_->Retire();
  grpc_server_->SetServing(false);
  absl::SleepFor(config_.drain_delay);
  Close(config_.drain_time);
  Log(LogLevel::kInfo, "drained");
}

void Gateway::Close(absl::Duration grace) {
  if (std::exchange(closed_, true)) return;
  draining_ = true;
  long_work_.Hurry();
  StopFollowing();
  if (grpc_server_) {
    auto ended = std::make_shared<std::promise<void>>();
    // Jitter spreads the reconnections of many watchers; a few need none.
    const absl::Duration over = std::min(grace / 2, hub_->watcher_count() * absl::Milliseconds(10));
    const absl::Time streams_end = clock_->Now() + grace;
    hub_->Drain(over, grace / 2, [ended] { ended->set_value(); });
    ended->get_future().wait_for(absl::ToChronoNanoseconds(grace));
    transfers_->Drain(std::max(absl::ZeroDuration(), streams_end - clock_->Now()));
    // Calls are served until gRPC's farewell, which sends clients elsewhere: only what would
    // outlast it ends here, and what a client repeats then no longer comes to this process.
    service_->Drain();
    segmind_->EndQueue();
    // Without calls under way only clients that are idle would be waited for: gRPC waits for them
    // to acknowledge its farewell, and those that do not poll take seconds.
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

void Gateway::StopFollowing() {
  Clock::TimerId timer = Clock::kNoTimer;
  {
    MutexLock lock(mu_);
    following_ = false;
    timer = follow_timer_;
  }
  clock_->Cancel(timer);
}

void Gateway::CloseGrpc(absl::Time deadline) {
  // A call that waits would keep the server from shutting down, whatever its own deadline.
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

void Gateway::RegisterMetrics() {
  metrics_
      .Gauge("finetune_gateway_build_info", "1, with the version.", {{"version", FINETUNE_VERSION}})
      .Set(1);
  view_age_ = &metrics_.Gauge("finetune_gateway_view_age_seconds",
                              "Since the newest whole read of Segmind that the view includes "
                              "began; since the start, before the first.");
  calls_left_ = &metrics_.Gauge("finetune_gateway_upstream_calls_left",
                                "Calls left in this minute of Segmind's rate limit.");
  upstream_state_ = &metrics_.Gauge(
      "finetune_gateway_upstream_state",
      "How Segmind answers: 1 healthy, 2 degraded, 3 retired, 4 the API key is refused.");
  store_writable_ = &metrics_.Gauge("finetune_gateway_store_writable",
                                    "Whether the last write to the store succeeded.");
  if (fleet_->is_shared())
    fleet_metrics_ = std::make_unique<FleetMetrics>(*fleet_, *clock_, metrics_);
  metrics_.Gauge("process_start_time_seconds", "When the process started, since 1970.")
      .Set(absl::ToDoubleSeconds(clock_->ToWall(start_time_) - absl::UnixEpoch()));
}

void Gateway::UpdateMetrics() {
  const absl::Time observed = std::max(catalog_->observe_time(), start_time_);
  view_age_->Set(absl::ToDoubleSeconds(clock_->Now() - observed));
  calls_left_->Set(segmind_->calls_left());
  upstream_state_->Set(tracker_->upstream_state());
  segmind_->credits().UpdateMetrics(clock_->Now());
  store_writable_->Set(recorder_->store_status().ok() ? 1 : 0);
  job_metrics_->UpdateAges();
  if (fleet_metrics_) fleet_metrics_->Update();
  process_metrics_.Update();
}

}  // namespace finetune
