#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/web/web_stream.h"

namespace finetune {

class OpenPages;

// What the pages' streams are made with; all of it outlives the server that sends them.
struct PageSource {
  WatchHub& hub;
  Clock& clock;
  // As the gateway tells every caller. Thread-safe; never blocks.
  std::function<pb::GatewayStatus()> status;
  // This month's spending by team. Thread-safe; never blocks.
  std::function<pb::GetSpendingResponse()> spending;
};

// A watcher of the hub whose client is a browser that gets server-sent events. Their data are the
// watch stream's messages in proto3 JSON, without the resume token, which is their id, and, as
// `status` events, what the gateway says about itself. The hub's thread only hands a message over;
// the connection's thread makes text of it. Lives until its connection has ended and the hub has
// finished with it. Thread-safe.
class PageStream : public WebStream,
                   public WatchSink,
                   public std::enable_shared_from_this<PageStream> {
 public:
  // `pages` counts it from now until Close.
  PageStream(const PageSource& source, std::shared_ptr<OpenPages> pages, WatchSpec spec);
  ~PageStream() override;

  // The gateway's status may have changed.
  void TellStatus() ABSL_LOCKS_EXCLUDED(mu_);

  // WebStream. On the connection's thread.
  void Begin(std::shared_ptr<WebOutlet> outlet) override ABSL_LOCKS_EXCLUDED(mu_);
  bool Fill(std::string& output) override ABSL_LOCKS_EXCLUDED(mu_);
  void Close() override ABSL_LOCKS_EXCLUDED(mu_);

  // WatchSink.
  void Write(const grpc::ByteBuffer& message) override ABSL_LOCKS_EXCLUDED(mu_);
  void Finish(absl::Status status) override ABSL_LOCKS_EXCLUDED(mu_);
  void Abort() override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void AppendStatus(std::string& output);

  // Constant after construction.
  const PageSource source_;
  const std::shared_ptr<OpenPages> pages_;

  // Connection's thread only.
  WatchSpec spec_;
  std::string last_status_;

  Mutex mu_;
  std::shared_ptr<PageStream> self_ ABSL_GUARDED_BY(mu_);  // While the hub may call.
  std::shared_ptr<Watcher> watcher_ ABSL_GUARDED_BY(mu_);  // Null if the hub took none.
  std::shared_ptr<WebOutlet> outlet_ ABSL_GUARDED_BY(mu_);
  std::optional<grpc::ByteBuffer> message_ ABSL_GUARDED_BY(mu_);  // The write that is under way.
  bool filling_ ABSL_GUARDED_BY(mu_) = false;                     // Looks again by itself.
  bool status_due_ ABSL_GUARDED_BY(mu_) = true;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

// The text of one event; an empty `id` leaves it out.
std::string EventText(std::string_view event, std::optional<std::string_view> id,
                      std::string_view data);
// A message of the watch stream as an event. Empty for bytes that are none.
std::string EventText(const grpc::ByteBuffer& message);

}  // namespace finetune
