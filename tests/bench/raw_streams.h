#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/receipts.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace finetune::bench {

// What one message of a stream says.
struct Reading {
  enum class What { kOther, kReady, kChange };
  What what = What::kOther;
  uint64_t revision = 0;
};

// What a stream asks for, and how its messages are read.
struct StreamPlan {
  std::string method;
  // Serialised messages.
  std::vector<std::string> requests;
  // Subscriptions that share the stream: each is ready once and gets each change once.
  int subscriptions = 1;
  // The client has no more to say after its requests.
  bool half_close = true;
  Reading (*read)(std::string_view message) = nullptr;
};

// What one stream makes of its messages: tells `receipts`. One thread at a time.
class StreamReader {
 public:
  StreamReader(const StreamPlan& plan, Receipts& receipts) : plan_(plan), receipts_(receipts) {}
  // A message that was received `now`.
  void Take(std::string_view message, int64_t now);
  const StreamPlan& plan() const { return plan_; }
  uint64_t revision() const { return revision_; }  // Any thread.

 private:
  // Older than what came before, or more often than there are subscriptions.
  bool IsWrong(uint64_t revision);

  const StreamPlan plan_;
  Receipts& receipts_;
  int ready_ = 0;
  std::atomic<uint64_t> revision_{0};
  int times_ = 0;
};

// Looks at no more of a WatchFineTunesResponse than is needed.
Reading ReadWatchResponse(std::string_view message);

grpc::ByteBuffer ToBytes(std::string_view text);

// A channel with a connection of its own.
std::shared_ptr<grpc::Channel> OwnChannel(const std::string& target, int number);

// Streams whose messages stay bytes, over a number of connections.
class RawStreams {
 public:
  virtual ~RawStreams() = default;  // Ends them.
  // One more, on the next connection in turn.
  virtual void Open(const StreamPlan& plan) = 0;
  // What the stream that is furthest behind has come to.
  virtual uint64_t LowestRevision() const = 0;
};

// By gRPC's C++ client: what C++ programs have, and what a program that has stopped leaves to the
// kernel and to the server. It costs about as much CPU a message as the server does. They tell
// `receipts`, which outlives them.
std::unique_ptr<RawStreams> MakeGrpcStreams(const std::string& target, int connections,
                                            Receipts& receipts);
// By reading HTTP/2's frames off the sockets and nothing more (frame_streams.cc): costs so little
// that what is measured is the server.
std::unique_ptr<RawStreams> MakeFrameStreams(const std::string& target, int connections,
                                             Receipts& receipts);

}  // namespace finetune::bench
