#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "server/web/http_head.h"
#include "server/web/web_door.h"

namespace finetune {

// The protocol of one connection of an HttpServer: received bytes go in, bytes to send come out.
// Requests are answered one after another; the next one is not read before the answer was sent. A
// request is judged by its head, and what exceeds the limit of a body is not kept. Has no socket
// and no clock. Not thread-safe; the door outlives it.
class HttpConnection {
 public:
  HttpConnection(WebDoor& door, size_t most_body_bytes)
      : door_(door), most_body_bytes_(most_body_bytes) {}

  // Takes all of `bytes`, which may be empty. Call it only while wants_bytes().
  void Take(std::string_view bytes);
  // Everything in output() was sent: goes on with what was received already.
  void Sent();

  // What is to be sent now. The sender removes what it has sent.
  std::string& output() { return output_; }

  // False while there is something to send, and once it closes.
  bool wants_bytes() const { return output_.empty() && !closing_; }
  // Nothing more will be read: once output() is sent, the connection ends.
  bool closing() const { return closing_; }
  // Nothing of a request was received.
  bool idle() const { return stage_ == Stage::kHead && input_.empty(); }
  // The stream that follows output(), if the last answer has one. Returns it once.
  std::shared_ptr<WebStream> TakeStream() { return std::exchange(stream_, nullptr); }
  // How many requests have been answered.
  uint64_t answered() const { return answered_; }

 private:
  enum class Stage { kHead, kBody };

  void Proceed();
  // Each returns true if it did something, so that there may be more to do.
  bool ProceedWithHead();
  bool ProceedWithBody();
  void Begin();
  void TakeBody();
  void Finish();
  void Refuse(const HttpRefusal& refusal);
  void Answer(const WebReply& reply);
  WebRequest Request() const {
    return {.method = head_.method, .path = head_.path, .query = head_.query, .head = &head_};
  }

  WebDoor& door_;
  const size_t most_body_bytes_;

  Stage stage_ = Stage::kHead;
  std::string input_;  // Not read yet: at most a head, and what came with it.
  HttpHead head_;
  ChunkDecoder chunks_;
  uint64_t body_left_ = 0;  // Of a body of known length.
  std::string body_;
  bool body_too_long_ = false;
  std::string output_;
  std::shared_ptr<WebStream> stream_;
  bool closing_ = false;
  uint64_t answered_ = 0;
};

}  // namespace finetune
