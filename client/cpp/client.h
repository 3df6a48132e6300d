// The C++ client of the fine-tune gateway. Start here:
//
//   auto gateway = finetune::Connect("finetune-gateway:50051", {.tls_ca = "ca.crt"});
//   if (!gateway.ok()) …
//   auto job = (*gateway)->Get("fineTunes/1b9d…");
//   auto done = (*gateway)->Wait(job->name());
//   auto file = (*gateway)->Download(done->name(), "dogs.safetensors");
//
// A call that fails returns an absl::Status; ErrorOf() in client/cpp/status.h reads its details.
#pragma once

#include <segmind/finetune/v1/fine_tune_service.grpc.pb.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/connection.h"
#include "client/cpp/job_range.h"
#include "client/cpp/status.h"
#include "client/cpp/sync.h"
#include "client/cpp/transfer.h"
#include "client/cpp/watch_client.h"

namespace finetune::inline client {

struct CallOptions {
  // ConnectOptions::timeout if absent.
  std::optional<absl::Duration> timeout;
};

struct SubmitOptions {
  // A UUID; made here if empty. A caller that wants to continue after its own restart passes one
  // that it has kept.
  std::string request_id;
  std::optional<absl::Duration> timeout;
};

// What Submit returns.
struct Submission {
  pb::FineTune fine_tune;
  std::string request_id;
  // One sentence for each budget that this job used up, or nearly.
  std::vector<std::string> budget_warnings = {};

  // It is not known yet whether Segmind took the job. The gateway finds out: wait for it or watch
  // it.
  bool unknown() const { return fine_tune.state() == pb::FineTune::SUBMIT_UNKNOWN; }
};

// How fresh an answer must be; absent: whatever the gateway has.
struct GetOptions {
  // At most this old; zero asks Segmind now.
  std::optional<absl::Duration> max_staleness;
  uint64_t min_revision = 0;
  std::optional<absl::Duration> timeout;
};

struct UpdateOptions {
  // Unspecified leaves it unchanged.
  pb::FineTune::Visibility visibility = pb::FineTune::VISIBILITY_UNSPECIFIED;
  // Labels to set, and keys of labels to remove.
  std::map<std::string, std::string> labels;
  std::vector<std::string> remove_labels;
  // If set, the update is refused (ETAG_MISMATCH) unless the job still has it.
  std::string etag;
  std::optional<absl::Duration> timeout;
};

// One gateway. Thread-safe. Outlives the Watchers, Subscriptions and ranges that it makes.
class FineTuneClient {
 public:
  explicit FineTuneClient(std::shared_ptr<Connection> connection);
  ~FineTuneClient();

  // Submits the job once, however often the call is repeated. It is repeated here while the gateway
  // cannot be reached or says when to try again. The status of a call that failed carries its
  // request_id (ErrorOf): submitting with it again cannot make a second job.
  absl::StatusOr<Submission> Submit(const pb::FineTune& job, const SubmitOptions& options = {});

  // Checks everything and submits nothing. Returns the job as it would be submitted.
  absl::StatusOr<pb::FineTune> Validate(const pb::FineTune& job, const CallOptions& call = {});

  absl::StatusOr<pb::FineTune> Get(const std::string& name, const GetOptions& options = {});

  // All jobs that match; pages are fetched as they are needed:
  //   for (const absl::StatusOr<pb::FineTune>& job : client.List({.filter = "state = TRAINING"}))
  JobRange List(ListOptions options = {});
  absl::StatusOr<pb::ListFineTunesResponse> ListPage(const pb::ListFineTunesRequest& request,
                                                     const CallOptions& call = {});

  absl::StatusOr<pb::FineTune> Update(const std::string& name, const UpdateOptions& options);
  absl::StatusOr<pb::FineTune> Update(const pb::UpdateFineTuneRequest& request,
                                      const CallOptions& call = {});

  // Waits until the job has reached `until` or has ended otherwise, so check its state. Waits as
  // long as it takes, also across restarts of the gateway. DEADLINE_EXCEEDED if `timeout` passes
  // first (IsWaitTimeout).
  absl::StatusOr<pb::FineTune> Wait(const std::string& name,
                                    pb::FineTune::State until = pb::FineTune::AVAILABLE,
                                    absl::Duration timeout = absl::InfiniteDuration());

  // Ends all calls under way (CANCELLED), also those of watchers, and lets none begin. For programs
  // that end while other threads are in calls: these must have returned before the destructor runs.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

  // Calls `callback` with the jobs as they are and then with every change, until the Subscription
  // is destroyed. All subscriptions of a client share one stream, which ends with the last of them;
  // see Watcher::Subscribe.
  std::unique_ptr<Subscription> Watch(SubscriptionOptions options, WatchCallback callback)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Sends a zip, or a folder of images as one; see client/cpp/transfer.h.
  absl::StatusOr<pb::Dataset> Upload(const std::string& path, const UploadOptions& options = {});
  // Fetches a job's weights into `path`.
  absl::StatusOr<DownloadedWeights> Download(const std::string& name, const std::string& path,
                                             const DownloadOptions& options = {});
  // A URL to which somebody with internet access can PUT a zip of this name.
  absl::StatusOr<pb::UploadUrl> CreateUploadUrl(const std::string& file_name, bool public_read,
                                                const CallOptions& call = {});

  absl::StatusOr<pb::GatewayStatus> Status(const CallOptions& call = {});
  // What jobs cost, by day or month and by group.
  absl::StatusOr<pb::GetSpendingResponse> Spending(const pb::GetSpendingRequest& request,
                                                   const CallOptions& call = {});

  // A stream of its own, with its own filter and delivery; few programs need one besides Watch().
  std::unique_ptr<Watcher> NewWatcher(WatcherOptions options);

  // For calls that have no method here.
  std::shared_ptr<Connection::Stub> stub() { return connection_->calls(); }
  // Sets the deadline (none without `timeout`) and the token of one call.
  absl::Status Prepare(grpc::ClientContext& context, std::optional<absl::Duration> timeout);
  Connection& connection() { return *connection_; }

 private:
  template <typename Request, typename Response>
  using Method = grpc::Status (Connection::Stub::*)(grpc::ClientContext*, const Request&,
                                                    Response*);

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(Method<Request, Response> method, const Request& request,
                                absl::Duration timeout,
                                std::vector<std::string>* budget_warnings = nullptr);

  // Call(), repeated until its time is over if its failure may pass: if it is UNAVAILABLE, or says
  // when to try again.
  template <typename Request, typename Response>
  absl::StatusOr<Response> CallRepeatedly(Method<Request, Response> method, const Request& request,
                                          absl::Duration timeout,
                                          std::vector<std::string>* budget_warnings = nullptr);

  absl::Duration TimeoutOf(const std::optional<absl::Duration>& timeout) const {
    return timeout.value_or(connection_->options().timeout);
  }

  // Constant after construction.
  const std::shared_ptr<Connection> connection_;

  ClientMutex mu_;
  std::unique_ptr<Watcher> shared_watcher_ ABSL_GUARDED_BY(mu_);
};

// A client of the gateway at `target`, a gRPC name: `host:port`, `dns:///host:port` (all its
// addresses in turn), `unix:/path`. INVALID_ARGUMENT for options that cannot work. Does not
// connect; the first call does.
absl::StatusOr<std::unique_ptr<FineTuneClient>> Connect(const std::string& target,
                                                        const ConnectOptions& options = {});

}  // namespace finetune::inline client
