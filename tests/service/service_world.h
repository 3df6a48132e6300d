#pragma once

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/access/caller_use.h"
#include "server/base/error_details.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/service/fine_tune_service.h"
#include "server/service/grpc_server.h"
#include "server/store/sqlite_store.h"
#include "tests/base/span_collector.h"
#include "tests/fakes/canned_segmind.h"
#include "tests/fakes/fixed_key.h"

namespace finetune {

// An Authenticator that takes the metadata `who` for the caller: `nobody` is refused, `viewer` may
// only look, `alice` and `bob` see only their own, and without it everything is allowed.
class AuthenticatorByName : public Authenticator {
 public:
  absl::StatusOr<Admission> Authenticate(const grpc::ServerContextBase& context,
                                         absl::Time) override {
    {
      MutexLock lock(mu_);
      ++asked_;
      was_asked_.NotifyAll();
    }
    const auto found = context.client_metadata().find("who");
    if (found == context.client_metadata().end())
      return Admission{std::make_shared<const Caller>(Caller{"", Role::kAdmin, true, {}, {}})};
    const std::string who(found->second.data(), found->second.size());
    {
      MutexLock lock(mu_);
      if (const auto told = told_.find(who); told != told_.end()) return told->second;
    }
    if (who == "nobody")
      return Error(absl::StatusCode::kUnauthenticated, pb::ErrorReason::CREDENTIALS_INVALID,
                   "who are you?");
    MutexLock lock(mu_);
    auto& use = uses_[who];
    if (use == nullptr) use = std::make_shared<CallerUse>(who, who);
    return Admission{std::make_shared<const Caller>(
        Caller{who, who == "viewer" ? Role::kViewer : Role::kSubmitter, who == "viewer", {}, use})};
  }

  // How often it was asked, and until it was asked more often than `before`.
  int asked() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return asked_;
  }
  void AwaitAsked(int before) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    while (asked_ <= before) was_asked_.Wait(mu_);
  }

  // From now on `who` is this.
  void Tell(const std::string& who, absl::StatusOr<Admission> is) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    told_.insert_or_assign(who, std::move(is));
  }

 private:
  Mutex mu_;
  CondVar was_asked_;
  int asked_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, absl::StatusOr<Admission>> told_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<CallerUse>> uses_ ABSL_GUARDED_BY(mu_);
};

// The whole service in this process, with a real server and a fake Segmind.
class ServiceWorld {
 public:
  explicit ServiceWorld(CallGate::Options options = {})
      : gate(std::move(options), authenticator, *clock, metrics, tracer) {
    EXPECT_TRUE(recorder.Load().ok());
    recorder.AddListener(&hub);
    recorder.AddListener(&job_waits);
    EXPECT_TRUE(submitter.Recover().ok());
    server = *GrpcServer::Start(
        {.host = "127.0.0.1", .credentials = grpc::InsecureServerCredentials(), .reflection = true},
        service, gate);
    channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server->port()),
                                  grpc::InsecureChannelCredentials());
    stub = pb::FineTuneService::NewStub(channel);
  }
  ~ServiceWorld() { Stop(); }

  void Stop() {
    if (!server) return;
    auto ended = std::make_shared<absl::Notification>();
    hub.Drain(absl::ZeroDuration(), absl::ZeroDuration(), [ended] { ended->Notify(); });
    ended->WaitForNotification();
    service.Drain();
    server->Shutdown(absl::Now() + absl::Seconds(5));
    server.reset();
    submitter.Stop(absl::Now());
    tracker.Stop();
    segmind_http.Shutdown();
    recorder.Stop();
  }

  // Commits jobs as if a read had brought them.
  void Put(const std::string& id, pb::FineTune::State state = pb::FineTune::TRAINING,
           const std::string& creator = "") {
    PutAll({id}, state, creator);
  }
  void PutAll(const std::vector<std::string>& ids, pb::FineTune::State state,
              const std::string& creator = "") {
    absl::Notification done;
    recorder.Record(
        [&](Draft& draft) {
          for (const std::string& id : ids) {
            auto record = draft.Find(id).value_or(record::FineTuneRecord());
            pb::FineTune& job = *record.mutable_fine_tune();
            job.set_name(NameOf(id));
            job.set_display_name("job " + id);
            job.set_base_model("FLUX");
            job.set_upstream_id("up-" + id);
            job.set_creator(creator);
            job.set_state(state);
            draft.Put(std::move(record));
          }
          return absl::OkStatus();
        },
        [&](absl::Status status) {
          EXPECT_TRUE(status.ok()) << status;
          done.Notify();
        });
    done.WaitForNotification();
  }

  CannedSegmind segmind_http;
  FixedKey key;
  std::unique_ptr<Clock> clock = MakeRealClock();
  Metrics metrics;
  std::unique_ptr<Store> store = *OpenSqliteStore(":memory:");
  Catalog catalog{{}, metrics};
  Recorder recorder{*store, catalog, *clock, metrics};
  SegmindClient segmind{{.url = "http://segmind.test", .calls_per_minute = 100'000},
                        segmind_http,
                        key,
                        *clock,
                        metrics};
  JobWaits job_waits{catalog, *clock};
  WatchQueues watch_queues{2};
  WatchHub hub{{}, catalog, *clock, metrics, watch_queues.waiters()};
  SoloFleet fleet{{}};
  Tracker tracker{{.active_poll_interval = absl::Hours(1), .idle_poll_interval = absl::Hours(1)},
                  {.segmind = segmind,
                   .recorder = recorder,
                   .catalog = catalog,
                   .fleet = fleet,
                   .clock = *clock,
                   .metrics = metrics}};
  Submitter submitter{{}, segmind, recorder, catalog, tracker, *clock, metrics};
  SpendingReader spending{recorder};
  Updater updater{segmind, recorder, catalog};
  AuthenticatorByName authenticator;
  SpanCollector spans;
  Tracer tracer{{}, spans, *clock};
  CallGate gate;
  ServiceParts parts{.catalog = catalog,
                     .tracker = tracker,
                     .submitter = submitter,
                     .spending = spending,
                     .updater = updater,
                     .job_waits = job_waits,
                     .hub = hub,
                     .watch_queues = watch_queues,
                     .segmind = segmind,
                     .clock = *clock,
                     .recorder = recorder,
                     .last_webhook_time = [] { return absl::InfinitePast(); },
                     .replica = "replica-7",
                     .fleet = fleet,
                     .store = store->system()};
  FineTuneService service{parts, gate};
  std::unique_ptr<GrpcServer> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::FineTuneService::Stub> stub;
};

// A context with a deadline and, if `who` is not empty, a caller.
inline std::unique_ptr<grpc::ClientContext> Context(const std::string& who = "",
                                                    absl::Duration timeout = absl::Seconds(20)) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  if (!who.empty()) context->AddMetadata("who", who);
  return context;
}

inline std::string ReasonIn(const grpc::Status& status) {
  rpc::Status wire;
  wire.ParseFromString(status.error_details());
  for (const auto& detail : wire.details())
    if (auto info = DetailIn<rpc::ErrorInfo>(detail)) return info->reason();
  return "";
}

}  // namespace finetune
