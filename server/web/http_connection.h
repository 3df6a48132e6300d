#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "server/web/http_head.h"
#include "server/web/web_door.h"

namespace finetune {

// What is said on one connection of an HttpServer: bytes that came go in, bytes to send come out.
// Requests are answered one after another; the next one is not looked at before the answer is sent.
// A request is judged by its head, and what a body holds beyond the limit is not kept. Knows no
// socket and no time. One thread; the door outlives it.
class HttpConnection {
 public:
  HttpConnection(WebDoor& door, size_t most_body_bytes)
      : door_(door), most_body_bytes_(most_body_bytes) {}

  // Takes all of `bytes`, which may be empty. Only while it wants any.
  void Take(std::string_view bytes);
  // Everything in output() was sent: goes on with what has come already.
  void Sent();

  // What is to be sent now. Whoever sends it takes it out.
  std::string& output() { return output_; }

  // False while there is something to send, and once it closes.
  bool wants_bytes() const { return output_.empty() && !closing_; }
  // Nothing more will be read: once output() is sent, the connection ends.
  bool closing() const { return closing_; }
  // Nothing of a request has come.
  bool idle() const { return stage_ == Stage::kHead && input_.empty(); }
  // What is to be said after output(), if the last answer goes on; once.
  std::shared_ptr<WebStream> TakeStream() { return std::exchange(stream_, nullptr); }
  // How many requests have been answered.
  uint64_t answered() const { return answered_; }

 private:
  enum class Stage { kHead, kBody };

  void Proceed();
  // Each is true if it has done something, so that there may be more to do.
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
  std::string input_;  // Not looked at yet: a head at most, and what came with it.
  HttpHead head_;
  ChunkDecoder chunks_;
  uint64_t body_left_ = 0;  // Of one of known length.
  std::string body_;
  bool body_too_long_ = false;
  std::string output_;
  std::shared_ptr<WebStream> stream_;
  bool closing_ = false;
  uint64_t answered_ = 0;
};

}  // namespace finetune
