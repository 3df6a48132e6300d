#include "client/cpp/watch_client.h"

#include <algorithm>

#include "client/cpp/status.h"

namespace finetune::inline client {
namespace {

gpr_timespec Never() { return gpr_inf_future(GPR_CLOCK_MONOTONIC); }

}  // namespace

Subscription::~Subscription() { watcher_.Remove(subscriber_); }

Watcher::Watcher(std::shared_ptr<Connection> connection, WatcherOptions options)
    : connection_(std::move(connection)),
      options_(std::move(options)),
      silence_limit_(options_.silence_limit > absl::ZeroDuration()
                         ? options_.silence_limit
                         : 3 * options_.heartbeat_interval),
      view_(!options_.skip_snapshot && options_.resume_token.empty()),
      timer_(Never()),
      backoff_(options_.backoff),
      token_(options_.resume_token),
      handled_token_(options_.resume_token),
      thread_([this] { Run(); }) {}

Watcher::~Watcher() {
  {
    ClientLock lock(mu_);
    stop_ = true;
    Wake();
  }
  thread_.join();
}

std::unique_ptr<Subscription> Watcher::Subscribe(SubscriptionOptions options,
                                                 WatchCallback callback) {
  auto subscriber = std::make_shared<Subscriber>(std::move(options), std::move(callback));
  ClientLock lock(mu_);
  added_.push_back(subscriber);
  Wake();
  return std::unique_ptr<Subscription>(new Subscription(*this, std::move(subscriber)));
}

void Watcher::Remove(const std::shared_ptr<Subscriber>& subscriber) {
  view_.Remove(subscriber);
  ClientLock lock(mu_);
  some_removed_ = true;
  Wake();
}

void Watcher::Close() {
  ClientLock lock(mu_);
  close_ = true;
  Wake();
}

std::string Watcher::resume_token() const {
  ClientLock lock(mu_);
  return handled_token_;
}

void Watcher::Wake() {
  if (woken_ || !queue_open_) return;
  woken_ = true;
  alarm_.Set(&queue_, gpr_now(GPR_CLOCK_MONOTONIC), reinterpret_cast<void*>(kWoken));
}

void Watcher::Run() {
  while (!stopped_ || phase_ != Phase::kEnded) {
    void* tag = nullptr;
    bool ok = false;
    switch (queue_.AsyncNext(&tag, &ok, timer_)) {
      case grpc::CompletionQueue::GOT_EVENT:
        Handle(static_cast<Tag>(reinterpret_cast<intptr_t>(tag)), ok);
        break;
      case grpc::CompletionQueue::TIMEOUT:
        timer_ = Never();
        OnTimer();
        break;
      case grpc::CompletionQueue::SHUTDOWN:
        return;
    }
  }
  CloseQueue();
}

void Watcher::Handle(Tag tag, bool ok) {
  switch (tag) {
    case kStarted:
      phase_ = Phase::kReading;
      ok ? ReadOn() : Finish();
      break;
    case kRead:
      if (!ok) {
        Finish();
        break;
      }
      OnResponse();
      ReadOn();
      break;
    case kFinished:
      OnStreamEnd();
      break;
    case kWoken:
      TakeCommands();
      break;
  }
}

void Watcher::OnTimer() {
  if (phase_ == Phase::kWaiting) {
    Open();
  } else if (context_ != nullptr) {
    silent_ = true;
    context_->TryCancel();
  }
}

void Watcher::Open() {
  opened_ = true;
  context_ = std::make_unique<grpc::ClientContext>();
  silent_ = false;
  answered_ = false;
  if (absl::Status status = connection_->Authorize(*context_); !status.ok()) {
    finish_status_ = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, std::string(status.message()));
    OnStreamEnd();
    return;
  }

  pb::WatchFineTunesRequest request;
  for (const std::string& name : options_.names) request.add_names(name);
  request.set_filter(options_.filter);
  request.set_view(options_.view);
  request.set_delivery(options_.delivery);
  request.set_gap_policy(options_.gap_policy);
  request.set_resume_token(token_);
  // What was promised once can only be kept with a snapshot.
  request.set_skip_snapshot(options_.skip_snapshot && !view_.ever_synced());
  request.mutable_heartbeat_interval()->set_seconds(
      std::clamp<int64_t>(absl::ToInt64Seconds(options_.heartbeat_interval), 1, 60));
  if (token_.empty()) view_.StartAfresh();

  phase_ = Phase::kStarting;
  WaitAtMost(silence_limit_);
  stream_ = connection_->watches()->PrepareAsyncWatchFineTunes(context_.get(), request, &queue_);
  stream_->StartCall(reinterpret_cast<void*>(kStarted));
}

void Watcher::ReadOn() { stream_->Read(&response_, reinterpret_cast<void*>(kRead)); }

void Watcher::Finish() {
  phase_ = Phase::kFinishing;
  timer_ = Never();
  stream_->Finish(&finish_status_, reinterpret_cast<void*>(kFinished));
}

void Watcher::OnResponse() {
  WaitAtMost(silence_limit_);
  if (!answered_) {
    answered_ = true;
    ever_connected_ = true;
    if (options_.on_connection) options_.on_connection({.connected = true});
  }
  if (stopped_ || !opened_) return;
  // Only a stream that gets somewhere ends the backing off.
  if (!response_.resume_token().empty()) backoff_.Reset();
  std::string token = response_.resume_token();
  const bool reset = response_.has_restart();
  view_.Apply(response_);
  if (reset) {
    SetToken("");
  } else if (!token.empty()) {
    SetToken(std::move(token));
  }
}

void Watcher::SetToken(std::string token) {
  ClientLock lock(mu_);
  token_ = std::move(token);
  handled_token_ = token_;
}

void Watcher::OnStreamEnd() {
  stream_.reset();
  context_.reset();
  timer_ = Never();
  phase_ = Phase::kEnded;
  if (stopped_ || closed_) return;
  if (!opened_) {
    phase_ = Phase::kWaiting;
    if (view_.watched()) Open();
    return;
  }
  absl::Status status = ToStatus(finish_status_);
  if (silent_) {
    status = absl::UnavailableError(absl::StrCat("nothing was heard from the gateway for ",
                                                 absl::FormatDuration(silence_limit_)));
  }
  if (ErrorReasonOf(status) == pb::ErrorReason::RESUME_TOKEN_INVALID && !token_.empty()) {
    // Of another gateway, or of one that lost its store: what is known is compared with a new
    // snapshot.
    SetToken("");
  } else if (absl::Status fatal = FatalPart(status); !fatal.ok()) {
    view_.End(std::move(fatal));
    return;
  }
  phase_ = Phase::kWaiting;
  const absl::Duration wait = backoff_.Next(RetryDelayOf(status));
  if (options_.on_connection) options_.on_connection({false, status, wait});
  WaitAtMost(wait);
}

absl::Status Watcher::FatalPart(const absl::Status& status) const {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return status;
    case absl::StatusCode::kUnauthenticated:
      // After it worked once: a token or certificate that is being replaced.
      return ever_connected_ ? absl::OkStatus() : status;
    default:
      return absl::OkStatus();
  }
}

void Watcher::WaitAtMost(absl::Duration duration) {
  timer_ = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_nanos(absl::ToInt64Nanoseconds(duration), GPR_TIMESPAN));
}

void Watcher::TakeCommands() {
  std::vector<std::shared_ptr<Subscriber>> added;
  bool some_removed = false;
  bool stop = false;
  bool close = false;
  {
    ClientLock lock(mu_);
    woken_ = false;
    added.swap(added_);
    some_removed = std::exchange(some_removed_, false);
    stop = stop_;
    close = close_;
  }
  if (stop && !stopped_) {
    stopped_ = true;
    EndStream();
  }
  if (stopped_) return;
  if (close && !std::exchange(closed_, true)) {
    view_.End(absl::CancelledError("the client is closed"));
    EndStream();
  }
  if (some_removed) view_.Prune();
  for (auto& subscriber : added) view_.Add(std::move(subscriber));
  if (closed_) return;
  if (opened_ && !view_.watched()) Rest();
  // A stream that is still ending opens the next one itself.
  if (!opened_ && view_.watched() && phase_ == Phase::kWaiting) Open();
}

void Watcher::EndStream() {
  timer_ = Never();
  if (context_ != nullptr) {
    context_->TryCancel();
  } else {
    phase_ = Phase::kEnded;
  }
}

void Watcher::Rest() {
  opened_ = false;
  view_.Forget();
  token_.clear();
  timer_ = Never();
  if (context_ != nullptr) context_->TryCancel();
}

void Watcher::CloseQueue() {
  {
    ClientLock lock(mu_);
    queue_open_ = false;
  }
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

}  // namespace finetune::inline client
