#include "client/cpp/client.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/durations.h"
#include "client/cpp/states.h"
#include "server/base/uuid.h"

namespace finetune::inline client {
namespace {

// A key of the metadata after the answer to a create.
constexpr char kBudgetWarning[] = "finetune-budget-warning";

using Stub = Connection::Stub;

// How long one call of a longer wait takes: short enough to notice a server that has gone silent.
constexpr absl::Duration kWaitSlice = absl::Minutes(2);
// How much longer an answer may take than the server was asked to wait.
constexpr absl::Duration kWaitGrace = absl::Seconds(10);

// Whether the same call may succeed later.
bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || (absl::IsResourceExhausted(status) && RetryDelayOf(status));
}

// Whether a wait goes on after such an answer.
bool WaitsOn(const absl::Status& status) {
  return MayPass(status) || absl::IsDeadlineExceeded(status);
}

pb::UpdateFineTuneRequest RequestOf(const std::string& name, const UpdateOptions& options) {
  pb::UpdateFineTuneRequest request;
  pb::FineTune& job = *request.mutable_fine_tune();
  job.set_name(name);
  job.set_etag(options.etag);
  google::protobuf::FieldMask& mask = *request.mutable_update_mask();
  if (options.visibility != pb::FineTune::VISIBILITY_UNSPECIFIED) {
    job.set_visibility(options.visibility);
    mask.add_paths("visibility");
  }
  for (const auto& [key, value] : options.labels) {
    (*job.mutable_labels())[key] = value;
    mask.add_paths(absl::StrCat("labels.", key));
  }
  // A label that is in the mask but not in the job is removed.
  for (const std::string& key : options.remove_labels) mask.add_paths(absl::StrCat("labels.", key));
  return request;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FineTuneClient>> Connect(const std::string& target,
                                                        const ConnectOptions& options) {
  auto connection = Connection::Open(target, options);
  if (!connection.ok()) return connection.status();
  return std::make_unique<FineTuneClient>(*std::move(connection));
}

FineTuneClient::FineTuneClient(std::shared_ptr<Connection> connection)
    : connection_(std::move(connection)) {}

FineTuneClient::~FineTuneClient() = default;

absl::Status FineTuneClient::Prepare(grpc::ClientContext& context,
                                     std::optional<absl::Duration> timeout) {
  if (absl::Status status = connection_->Authorize(context); !status.ok()) return status;
  if (!connection_->options().wait_for_ready) context.set_wait_for_ready(false);
  if (timeout) context.set_deadline(absl::ToChronoTime(absl::Now() + *timeout));
  return absl::OkStatus();
}

template <typename Request, typename Response>
absl::StatusOr<Response> FineTuneClient::Call(Method<Request, Response> method,
                                              const Request& request, absl::Duration timeout,
                                              std::vector<std::string>* budget_warnings) {
  CallContext context(*connection_);
  if (absl::Status status = Prepare(context, timeout); !status.ok()) return status;
  Response response;
  const grpc::Status status = (connection_->calls().get()->*method)(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  if (budget_warnings != nullptr) {
    const auto [first, last] = context.GetServerTrailingMetadata().equal_range(kBudgetWarning);
    for (auto it = first; it != last; ++it)
      budget_warnings->emplace_back(it->second.data(), it->second.size());
  }
  return response;
}

template <typename Request, typename Response>
absl::StatusOr<Response> FineTuneClient::CallRepeatedly(Method<Request, Response> method,
                                                        const Request& request,
                                                        absl::Duration timeout,
                                                        std::vector<std::string>* budget_warnings) {
  const ConnectOptions& options = connection_->options();
  const absl::Time deadline = absl::Now() + timeout;
  RetryBackoff backoff(options.backoff);
  absl::Status before;
  while (true) {
    absl::StatusOr<Response> response =
        Call(method, request, deadline - absl::Now(), budget_warnings);
    // What kept the call from succeeding says more than that its time is over.
    if (absl::IsDeadlineExceeded(response.status()) && !before.ok()) return before;
    if (!MayPass(response.status())) return response;
    before = response.status();
    const absl::Duration wait = backoff.Next(RetryDelayOf(response.status()));
    if (absl::Now() + wait >= deadline) return response;
    absl::SleepFor(wait);
  }
}

absl::StatusOr<Submission> FineTuneClient::Submit(const pb::FineTune& job,
                                                  const SubmitOptions& options) {
  pb::CreateFineTuneRequest request;
  *request.mutable_fine_tune() = job;
  request.set_request_id(options.request_id.empty() ? MakeUuid() : options.request_id);
  std::vector<std::string> warnings;
  auto created =
      CallRepeatedly(&Stub::CreateFineTune, request, TimeoutOf(options.timeout), &warnings);
  if (!created.ok()) return WithRequestId(created.status(), request.request_id());
  return Submission{*std::move(created), request.request_id(), std::move(warnings)};
}

absl::StatusOr<pb::FineTune> FineTuneClient::Validate(const pb::FineTune& job,
                                                      const CallOptions& call) {
  pb::CreateFineTuneRequest request;
  *request.mutable_fine_tune() = job;
  request.set_validate_only(true);
  return CallRepeatedly(&Stub::CreateFineTune, request, TimeoutOf(call.timeout));
}

absl::StatusOr<pb::FineTune> FineTuneClient::Get(const std::string& name,
                                                 const GetOptions& options) {
  pb::GetFineTuneRequest request;
  request.set_name(name);
  if (options.max_staleness)
    SetDuration(*options.max_staleness, *request.mutable_freshness()->mutable_max_staleness());
  if (options.min_revision != 0)
    request.mutable_freshness()->set_min_revision(options.min_revision);
  return Call(&Stub::GetFineTune, request, TimeoutOf(options.timeout));
}

JobRange FineTuneClient::List(ListOptions options) { return JobRange(*this, options); }

absl::StatusOr<pb::ListFineTunesResponse> FineTuneClient::ListPage(
    const pb::ListFineTunesRequest& request, const CallOptions& call) {
  return Call(&Stub::ListFineTunes, request, TimeoutOf(call.timeout));
}

absl::StatusOr<pb::FineTune> FineTuneClient::Update(const std::string& name,
                                                    const UpdateOptions& options) {
  return Update(RequestOf(name, options), {.timeout = options.timeout});
}

absl::StatusOr<pb::FineTune> FineTuneClient::Update(const pb::UpdateFineTuneRequest& request,
                                                    const CallOptions& call) {
  // With an etag, a repetition would fail because of its own success.
  if (request.fine_tune().etag().empty())
    return CallRepeatedly(&Stub::UpdateFineTune, request, TimeoutOf(call.timeout));
  return Call(&Stub::UpdateFineTune, request, TimeoutOf(call.timeout));
}

absl::StatusOr<pb::FineTune> FineTuneClient::Wait(const std::string& name,
                                                  pb::FineTune::State until,
                                                  absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  RetryBackoff backoff(connection_->options().backoff);
  pb::WaitFineTuneRequest request;
  request.set_name(name);
  request.set_until(until);
  while (true) {
    const absl::Time start = absl::Now();
    const absl::Duration asked = std::clamp(deadline - start, absl::ZeroDuration(), kWaitSlice);
    SetDuration(asked, *request.mutable_timeout());
    auto response = Call(&Stub::WaitFineTune, request, asked + kWaitGrace);
    if (!response.ok() && !WaitsOn(response.status())) return response.status();
    if (response.ok()) {
      const pb::FineTune::State state = response->fine_tune().state();
      if (response->done() || HasReached(state, until) || IsTerminal(state))
        return std::move(*response->mutable_fine_tune());
    }
    if (absl::Now() >= deadline)
      return response.ok() ? WaitTimeout(response->fine_tune()) : response.status();
    if (response.ok() && absl::Now() - start >= asked / 2) {
      backoff.Reset();
      continue;
    }
    // The server is out of reach, or answers before its time and would be asked in a tight loop.
    const absl::Duration pause = backoff.Next(RetryDelayOf(response.status()));
    if (!response.ok() && absl::Now() + pause >= deadline) return response.status();
    absl::SleepFor(std::min(pause, deadline - absl::Now()));
  }
}

absl::StatusOr<pb::UploadUrl> FineTuneClient::CreateUploadUrl(const std::string& file_name,
                                                              bool public_read,
                                                              const CallOptions& call) {
  pb::CreateUploadUrlRequest request;
  request.set_file_name(file_name);
  request.set_public_read(public_read);
  return Call(&Stub::CreateUploadUrl, request, TimeoutOf(call.timeout));
}

absl::StatusOr<pb::GatewayStatus> FineTuneClient::Status(const CallOptions& call) {
  return Call(&Stub::GetGatewayStatus, pb::GetGatewayStatusRequest(), TimeoutOf(call.timeout));
}

absl::StatusOr<pb::GetSpendingResponse> FineTuneClient::Spending(
    const pb::GetSpendingRequest& request, const CallOptions& call) {
  return Call(&Stub::GetSpending, request, TimeoutOf(call.timeout));
}

absl::StatusOr<pb::Dataset> FineTuneClient::Upload(const std::string& path,
                                                   const UploadOptions& options) {
  return UploadDataset(*this, path, options);
}

absl::StatusOr<DownloadedWeights> FineTuneClient::Download(const std::string& name,
                                                           const std::string& path,
                                                           const DownloadOptions& options) {
  return DownloadWeights(*this, name, path, options);
}

std::unique_ptr<Watcher> FineTuneClient::NewWatcher(WatcherOptions options) {
  return std::make_unique<Watcher>(connection_, std::move(options));
}

std::unique_ptr<Subscription> FineTuneClient::Watch(SubscriptionOptions options,
                                                    WatchCallback callback) {
  ClientLock lock(mu_);
  if (shared_watcher_ == nullptr) shared_watcher_ = NewWatcher({});
  return shared_watcher_->Subscribe(std::move(options), std::move(callback));
}

void FineTuneClient::Close() {
  connection_->Close();
  ClientLock lock(mu_);
  if (shared_watcher_ != nullptr) shared_watcher_->Close();
}

}  // namespace finetune::inline client
