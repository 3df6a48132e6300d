#pragma once

#include <memory>
#include <string>

namespace finetune {

// The connection of a WebStream, as the stream sees it. Thread-safe. May outlive the connection;
// what it is told then has no effect.
class WebOutlet {
 public:
  virtual ~WebOutlet() = default;
  // There is something to say: has Fill called soon. Returns at once.
  virtual void Wake() = 0;
  // Ends the connection, whatever it has yet to send. Returns at once; Close follows.
  virtual void Cut() = 0;
};

// An answer that goes on, such as server-sent events: it is asked for bytes when its connection has
// room for them. All calls come on the connection's thread, none during another.
class WebStream {
 public:
  // Where Fill stops, within a message.
  static constexpr size_t kRoom = size_t{64} << 10;

  virtual ~WebStream() = default;
  // The head of the answer is on its way; before all else. Without it Close does not come.
  virtual void Begin(std::shared_ptr<WebOutlet> outlet) = 0;
  // Appends what there is to say. Called when all before was sent, again and again until it appends
  // nothing, and then after a Wake. False: the connection ends once that is sent.
  virtual bool Fill(std::string& output) = 0;
  // The connection is over; the last call.
  virtual void Close() = 0;
};

}  // namespace finetune
