#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/receipts.h"

namespace grpc {
class Channel;
}

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
  std::vector<grpc::ByteBuffer> requests;
  // Subscriptions that share the stream: each is ready once and gets each change once.
  int subscriptions = 1;
  // The client has no more to say after its requests.
  bool half_close = true;
  Reading (*read)(std::string_view message) = nullptr;
};

// Looks at no more of a WatchFineTunesResponse than is needed.
Reading ReadWatchResponse(std::string_view message);

grpc::ByteBuffer ToBytes(std::string_view text);

// A channel with a connection of its own.
std::shared_ptr<grpc::Channel> OwnChannel(const std::string& target, int number);

// Streams whose messages stay bytes, so that the generator costs the same whatever it talks to and
// as little as gRPC's C++ client can; they tell `receipts`, which outlives this.
class RawStreams {
 public:
  RawStreams(const std::string& target, int connections, Receipts& receipts);
  // Cancels what is open and waits for the end.
  ~RawStreams();

  // One more, on the next connection in turn.
  void Open(const StreamPlan& plan);

  int size() const { return static_cast<int>(streams_.size()); }
  // What the stream that is furthest behind has come to.
  uint64_t LowestRevision() const;

 private:
  class Stream;

  Receipts& receipts_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace finetune::bench
