#pragma once

#include <memory>
#include <string>

namespace finetune {

// The connection of a WebStream, as the stream sees it. Thread-safe. May outlive the connection;
// calls then have no effect.
class WebOutlet {
 public:
  virtual ~WebOutlet() = default;
  // Has Fill called soon, because there is something to send. Returns at once.
  virtual void Wake() = 0;
  // Ends the connection, even if there is more to send. Returns at once; Close follows.
  virtual void Cut() = 0;
};

// An answer without end, such as server-sent events. It is asked for bytes when its connection has
// room for them. All calls come on the connection's thread, one at a time. Shared by the connection
// and the door that made it.
class WebStream {
 public:
  // Fill stops once it has appended this much, at the end of a message.
  static constexpr size_t kRoom = size_t{64} << 10;

  virtual ~WebStream() = default;
  // The first call: the head of the answer is being sent. Without Begin, Close does not come.
  virtual void Begin(std::shared_ptr<WebOutlet> outlet) = 0;
  // Appends what there is to send. Called when everything before was sent, repeatedly until it
  // appends nothing, and then after a Wake. False ends the connection once that is sent.
  virtual bool Fill(std::string& output) = 0;
  // The last call: the connection has ended.
  virtual void Close() = 0;
};

}  // namespace finetune
