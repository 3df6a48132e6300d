#include "client/cpp/client.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "client/cpp/states.h"
#include "client/cpp/uuid.h"

namespace finetune::inline client {
namespace {

using Stub = pb::FineTuneService::StubInterface;

// One call of a longer wait: short enough to notice a server that has gone silent.
constexpr absl::Duration kWaitSlice = absl::Minutes(2);
// What an answer may take beyond the time that the server was asked to wait.
constexpr absl::Duration kWaitGrace = absl::Seconds(10);

void SetDuration(absl::Duration value, google::protobuf::Duration& proto) {
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FineTuneClient>> FineTuneClient::Create(ClientOptions options) {
  auto credentials = MakeCredentials(options.channel);
  if (!credentials.ok()) return credentials.status();
  auto client = std::unique_ptr<FineTuneClient>(
      new FineTuneClient(std::move(options), *std::move(credentials)));
  if (auto header = client->token_->Authorization(); !header.ok()) return header.status();
  return client;
}

FineTuneClient::FineTuneClient(ClientOptions options,
                               const std::shared_ptr<grpc::ChannelCredentials>& credentials)
    : options_(std::move(options)),
      token_(std::make_shared<TokenFile>(options_.channel.token_file)),
      calls_(pb::FineTuneService::NewStub(MakeChannel(options_.channel, credentials))),
      watches_(pb::FineTuneService::NewStub(MakeChannel(options_.channel, credentials))) {}

FineTuneClient::~FineTuneClient() = default;

absl::Status FineTuneClient::Prepare(grpc::ClientContext& context,
                                     std::optional<absl::Duration> timeout) {
  auto header = token_->Authorization();
  if (!header.ok()) return header.status();
  if (!header->empty()) context.AddMetadata("authorization", *header);
  if (!options_.wait_for_ready) context.set_wait_for_ready(false);
  if (timeout) context.set_deadline(absl::ToChronoTime(absl::Now() + *timeout));
  return absl::OkStatus();
}

template <typename Request, typename Response>
absl::StatusOr<Response> FineTuneClient::Call(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                           const Request&,
                                                                           Response*),
                                              const Request& request, absl::Duration timeout) {
  grpc::ClientContext context;
  if (absl::Status status = Prepare(context, timeout); !status.ok()) return status;
  Response response;
  const grpc::Status status = (calls_.get()->*method)(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

template <typename Request, typename Response>
absl::StatusOr<Response> FineTuneClient::CallRepeatedly(
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
    const Request& request, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  RetryBackoff backoff(options_.backoff);
  for (int attempt = 1;; ++attempt) {
    absl::StatusOr<Response> response = Call(method, request, deadline - absl::Now());
    if (!absl::IsUnavailable(response.status()) || attempt >= options_.attempts) return response;
    const absl::Duration wait = backoff.Next(RetryDelayOf(response.status()));
    if (absl::Now() + wait >= deadline) return response;
    absl::SleepFor(wait);
  }
}

absl::StatusOr<pb::FineTune> FineTuneClient::CreateFineTune(pb::CreateFineTuneRequest request,
                                                            CallOptions call) {
  if (request.request_id().empty()) request.set_request_id(MakeRequestId());
  return CallRepeatedly(&Stub::CreateFineTune, request, TimeoutOf(call));
}

absl::StatusOr<pb::FineTune> FineTuneClient::GetFineTune(const pb::GetFineTuneRequest& request,
                                                         CallOptions call) {
  return Call(&Stub::GetFineTune, request, TimeoutOf(call));
}

absl::StatusOr<pb::FineTune> FineTuneClient::GetFineTune(const std::string& name,
                                                         CallOptions call) {
  pb::GetFineTuneRequest request;
  request.set_name(name);
  return GetFineTune(request, call);
}

absl::StatusOr<pb::ListFineTunesResponse> FineTuneClient::ListFineTunes(
    const pb::ListFineTunesRequest& request, CallOptions call) {
  return Call(&Stub::ListFineTunes, request, TimeoutOf(call));
}

absl::StatusOr<pb::FineTune> FineTuneClient::UpdateFineTune(
    const pb::UpdateFineTuneRequest& request, CallOptions call) {
  if (request.fine_tune().etag().empty()) {
    return CallRepeatedly(&Stub::UpdateFineTune, request, TimeoutOf(call));
  }
  return Call(&Stub::UpdateFineTune, request, TimeoutOf(call));
}

absl::StatusOr<pb::WaitFineTuneResponse> FineTuneClient::WaitFineTune(
    const pb::WaitFineTuneRequest& request, CallOptions call) {
  absl::Duration timeout = absl::Hours(1);
  if (request.has_timeout()) {
    timeout =
        absl::Seconds(request.timeout().seconds()) + absl::Nanoseconds(request.timeout().nanos());
  }
  return Call(&Stub::WaitFineTune, request, call.timeout.value_or(timeout + kWaitGrace));
}

absl::StatusOr<pb::WaitFineTuneResponse> FineTuneClient::WaitUntil(const std::string& name,
                                                                   pb::FineTune::State until,
                                                                   absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  RetryBackoff backoff(options_.backoff);
  pb::WaitFineTuneRequest request;
  request.set_name(name);
  request.set_until(until);
  while (true) {
    const absl::Duration left = std::max(absl::ZeroDuration(), deadline - absl::Now());
    const absl::Duration asked = std::min(left, kWaitSlice);
    const absl::Time start = absl::Now();
    SetDuration(asked, *request.mutable_timeout());
    auto response = WaitFineTune(request);
    const bool out_of_reach =
        absl::IsUnavailable(response.status()) || absl::IsDeadlineExceeded(response.status());
    if (!response.ok() && !out_of_reach) return response;
    if (response.ok() && (response->done() || HasReached(response->fine_tune().state(), until) ||
                          IsTerminal(response->fine_tune().state()))) {
      response->set_done(true);
      return response;
    }
    if (absl::Now() >= deadline) return response;
    if (response.ok() && absl::Now() - start >= asked / 2) {
      backoff.Reset();
      continue;
    }
    // Out of reach, or a server that answers before its time and would be asked in a tight loop.
    const absl::Duration pause = backoff.Next(RetryDelayOf(response.status()));
    if (!response.ok() && absl::Now() + pause >= deadline) return response;
    absl::SleepFor(std::min(pause, deadline - absl::Now()));
  }
}

absl::StatusOr<pb::UploadUrl> FineTuneClient::CreateUploadUrl(
    const pb::CreateUploadUrlRequest& request, CallOptions call) {
  return Call(&Stub::CreateUploadUrl, request, TimeoutOf(call));
}

absl::StatusOr<pb::GatewayStatus> FineTuneClient::GetGatewayStatus(CallOptions call) {
  return Call(&Stub::GetGatewayStatus, pb::GetGatewayStatusRequest(), TimeoutOf(call));
}

std::unique_ptr<Watcher> FineTuneClient::NewWatcher(WatcherOptions options) {
  return std::make_unique<Watcher>(watches_, token_, std::move(options));
}

std::unique_ptr<Subscription> FineTuneClient::Subscribe(SubscriptionOptions options,
                                                        WatchCallback callback) {
  ClientLock lock(mu_);
  if (shared_watcher_ == nullptr) shared_watcher_ = NewWatcher({});
  return shared_watcher_->Subscribe(std::move(options), std::move(callback));
}

}  // namespace finetune::inline client
