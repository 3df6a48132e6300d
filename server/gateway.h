#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/access/authenticator.h"
#include "server/access/authorities_file.h"
#include "server/access/policy_file.h"
#include "server/access/server_credentials.h"
#include "server/base/clock.h"
#include "server/base/long_work.h"
#include "server/base/metrics.h"
#include "server/base/reread_files.h"
#include "server/base/trace.h"
#include "server/config.h"
#include "server/fleet_metrics.h"
#include "server/gateway_metrics.h"
#include "server/idle_memory.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/job_metrics.h"
#include "server/jobs/record/job_waits.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/submission/spending_reader.h"
#include "server/jobs/submission/spending_summary.h"
#include "server/jobs/submission/submitter.h"
#include "server/jobs/submission/updater.h"
#include "server/jobs/tracking/tracker.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/otlp/span_exporter.h"
#include "server/page/page_door.h"
#include "server/process_limits.h"
#include "server/process_metrics.h"
#include "server/readiness.h"
#include "server/segmind/segmind_client.h"
#include "server/service/calls/call_gate.h"
#include "server/service/connections/connection_guard.h"
#include "server/service/fine_tune_service.h"
#include "server/service/grpc_server.h"
#include "server/service/transfers/transfers.h"
#include "server/service/watches/watch_queues.h"
#include "server/store/fleet.h"
#include "server/store/store.h"
#include "server/web/admin_door.h"
#include "server/web/http_server.h"
#include "server/web/webhook_door.h"

namespace finetune {

// The whole service: makes the objects in the order of their dependencies, opens the doors once
// the record is loaded, and closes everything in the order that loses nothing. One thread uses it.
class Gateway {
 public:
  // Opens and loads what the service rests on. Errors are one sentence that says what to do. Waits
  // for a database that is not there until `should_stop`.
  static absl::StatusOr<std::unique_ptr<Gateway>> Create(
      const Config& config, const std::function<bool()>& should_stop = [] { return false; });
  ~Gateway();

  // Opens the doors and begins to read Segmind. Errors as above.
  absl::Status Start();

  // Takes no new work, ends streams so that clients resume elsewhere, finishes calls, and closes.
  // Blocks for up to drain_delay and twice drain_time (once for streams and transfers, once for
  // calls), and then for what the store still has to commit and the last export of spans. After a
  // Start that went well, once.
  void Drain();

  // Looks at all files that are reread, at once.
  void RereadFiles() { rereader_->LookNow(); }

 private:
  explicit Gateway(const Config& config);

  absl::Status Open(const std::function<bool()>& should_stop);
  // Open's steps, in their order.
  absl::Status OpenFiles();
  absl::Status OpenRecord(const std::function<bool()>& should_stop);
  absl::Status OpenSegmind(const std::function<bool()>& should_stop);
  // An attempt at a record that others share is made again for as long as their database is away.
  absl::Status AwaitRecord(const std::function<absl::Status()>& attempt,
                           const std::function<bool()>& should_stop);
  void MakeReadiness();
  void MakeDoors();
  void MakeService();
  absl::Status OpenCredentials();
  // The file of authorities to trust; empty: the system's.
  std::string UpstreamCa() const;
  // Of the policy, for metrics.
  void KnowCallers();
  // Never fails: a start must not stop because of traces.
  void OpenTracer();
  absl::Status OpenPolicy();
  void LogWarnings() const;
  absl::Status OpenDoors();
  void UpdateMetrics();
  // Whether the port still takes connections.
  absl::Status ProbeGrpcPort() const;
  // Ends streams within `grace`, then calls within as much again, then all the rest. Idempotent.
  void Close(absl::Duration grace);
  // Calls to Segmind that are still under way after `deadline` are cancelled.
  void CloseGrpc(absl::Time deadline);

  const Config config_;
  absl::Time start_time_;
  bool closed_ = false;

  // In the order of their dependencies.
  std::unique_ptr<Clock> clock_;
  Metrics metrics_;
  LongWork long_work_{{.cores = CpuLimit()}, *clock_};
  std::unique_ptr<FileRereader> rereader_;
  std::unique_ptr<AuthoritiesFile> upstream_ca_;      // Null without one.
  std::unique_ptr<AuthoritiesFile> traces_ca_;        // Null without one.
  std::unique_ptr<ServerCertificates> certificates_;  // Null without TLS.
  std::unique_ptr<SpanExporter> exporter_;            // Null if nothing is traced.
  std::unique_ptr<Tracer> tracer_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<ApiKeySource> key_;
  std::unique_ptr<HttpClient> http_;  // Also for the policy's keys.
  std::unique_ptr<HttpStreamer> streamer_;
  std::unique_ptr<SegmindClient> segmind_;
  std::unique_ptr<JobMetrics> job_metrics_;
  std::unique_ptr<JobWaits> job_waits_;
  std::unique_ptr<WatchQueues> watch_queues_;
  std::unique_ptr<WatchHub> hub_;
  std::unique_ptr<Tracker> tracker_;
  std::unique_ptr<Submitter> submitter_;
  std::unique_ptr<SpendingReader> spending_;
  std::unique_ptr<SpendingSummary> spending_summary_;
  std::unique_ptr<Updater> updater_;
  std::unique_ptr<DatasetLooks> looks_;
  std::unique_ptr<Transfers> transfers_;
  std::unique_ptr<WebhookTokens> tokens_;
  std::unique_ptr<WebhookDoor> webhook_door_;
  std::unique_ptr<PageDoor> page_door_;  // Null without a page.
  std::unique_ptr<AdminDoor> admin_door_;
  std::unique_ptr<PolicyFile> policy_;  // Null without one.
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<Readiness> readiness_;
  std::unique_ptr<CallGate> gate_;
  std::unique_ptr<FineTuneService> service_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<GrpcServer> grpc_server_;
  std::unique_ptr<ConnectionGuard> connection_guard_;
  std::unique_ptr<HttpServer> webhook_server_;
  std::unique_ptr<HttpServer> admin_server_;

  std::unique_ptr<GatewayMetrics> gateway_metrics_;
  std::unique_ptr<FleetMetrics> fleet_metrics_;  // Null where one gateway has the record.
  ProcessMetrics process_metrics_{metrics_};
  IdleMemory idle_memory_{*clock_, metrics_};
};

}  // namespace finetune
