#include "server/page/page_stream.h"

#include <grpcpp/support/slice.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/absl_view.h"
#include "server/base/time_proto.h"
#include "server/json/message_json.h"
#include "server/page/open_pages.h"

namespace finetune {
namespace {

std::string_view NameOf(pb::WatchFineTunesResponse::EventCase event) {
  switch (event) {
    case pb::WatchFineTunesResponse::kChange:
      return "change";
    case pb::WatchFineTunesResponse::kSynced:
      return "synced";
    case pb::WatchFineTunesResponse::kHeartbeat:
      return "heartbeat";
    case pb::WatchFineTunesResponse::kRestart:
      return "restart";
    case pb::WatchFineTunesResponse::EVENT_NOT_SET:
      break;
  }
  return "";
}

std::string JsonOf(const google::protobuf::Message& message) {
  JsonWriter writer;
  WriteMessage(message, writer);
  return writer.text();
}

}  // namespace

std::string EventText(std::string_view event, std::optional<std::string_view> id,
                      std::string_view data) {
  return absl::StrCat("event: ", AbslView(event), id ? "\nid: " : "", id ? AbslView(*id) : "",
                      "\ndata: ", AbslView(data), "\n\n");
}

std::string EventText(const grpc::ByteBuffer& message) {
  grpc::Slice slice;
  pb::WatchFineTunesResponse response;
  if (!message.DumpToSingleSlice(&slice).ok() ||
      !response.ParseFromArray(slice.begin(), static_cast<int>(slice.size())))
    return "";
  const std::string token = std::exchange(*response.mutable_resume_token(), "");
  std::optional<std::string_view> id;
  // An empty id makes the browser forget its last one, which could no longer be resumed.
  if (!token.empty() || response.has_restart()) id = token;
  return EventText(NameOf(response.event_case()), id, JsonOf(response));
}

PageStream::PageStream(const PageSource& source, std::shared_ptr<OpenPages> pages, WatchSpec spec)
    : source_(source), pages_(std::move(pages)), spec_(std::move(spec)) {}

PageStream::~PageStream() { pages_->Leave(this); }

void PageStream::TellStatus() {
  std::shared_ptr<WebOutlet> outlet;
  {
    MutexLock lock(mu_);
    status_due_ = true;
    if (!filling_) outlet = outlet_;
  }
  if (outlet != nullptr) outlet->Wake();
}

void PageStream::Begin(std::shared_ptr<WebOutlet> outlet) {
  {
    MutexLock lock(mu_);
    outlet_ = std::move(outlet);
    self_ = shared_from_this();
  }
  auto watcher = source_.hub.Watch(std::move(spec_), this);
  std::shared_ptr<PageStream> self;  // Dropped after the lock.
  MutexLock lock(mu_);
  if (watcher.ok()) {
    watcher_ = *std::move(watcher);
  } else {
    // The gateway is draining, and the browser will connect again.
    finished_ = true;
    self = std::move(self_);
  }
}

bool PageStream::Fill(std::string& output) {
  while (true) {
    std::shared_ptr<Watcher> watcher;
    grpc::ByteBuffer message;
    {
      MutexLock lock(mu_);
      filling_ = message_.has_value() && output.size() < kRoom;
      if (!filling_) break;
      message.Swap(&*message_);
      message_.reset();
      watcher = watcher_;
    }
    output += EventText(message);
    watcher->OnWriteDone(true);
  }
  bool tells_status = false;
  bool finished = false;
  {
    MutexLock lock(mu_);
    tells_status = std::exchange(status_due_, false);
    finished = finished_ && !message_;
  }
  if (tells_status && !finished) AppendStatus(output);
  return !finished;
}

void PageStream::AppendStatus(std::string& output) {
  const std::string status = JsonOf(source_.status());
  if (status == last_status_) return;
  last_status_ = status;
  pb::Heartbeat now;  // For the form of its time.
  *now.mutable_observe_time() = ToProto(source_.clock.WallNow());
  absl::StrAppend(&output,
                  EventText("status", std::nullopt,
                            absl::StrCat("{\"now\":", JsonOf(now), ",\"status\":", status, "}")));
}

void PageStream::Close() {
  pages_->Leave(this);
  std::shared_ptr<Watcher> watcher;
  bool writing = false;
  {
    MutexLock lock(mu_);
    closed_ = true;
    outlet_ = nullptr;
    watcher = watcher_;
    writing = message_.has_value();
    message_.reset();
  }
  if (watcher == nullptr) return;
  watcher->Cancel();
  if (writing) watcher->OnWriteDone(false);
}

void PageStream::Write(const grpc::ByteBuffer& message) {
  std::shared_ptr<WebOutlet> outlet;
  std::shared_ptr<Watcher> watcher;
  {
    MutexLock lock(mu_);
    if (closed_) {
      watcher = watcher_;
    } else {
      message_ = message;
      if (!filling_) outlet = outlet_;
    }
  }
  if (outlet != nullptr) outlet->Wake();
  if (watcher != nullptr) watcher->OnWriteDone(false);
}

void PageStream::Finish(absl::Status) {
  std::shared_ptr<PageStream> self;  // Dropped after the lock.
  std::shared_ptr<WebOutlet> outlet;
  {
    MutexLock lock(mu_);
    finished_ = true;
    self = std::move(self_);
    outlet = outlet_;
  }
  if (outlet != nullptr) outlet->Wake();
}

void PageStream::Abort() {
  std::shared_ptr<WebOutlet> outlet;
  {
    MutexLock lock(mu_);
    outlet = outlet_;
  }
  if (outlet != nullptr) outlet->Cut();
}

}  // namespace finetune
