// What people would use instead to tell many of a change, driven as the gateway is.
#pragma once

#include <string>

namespace finetune::bench {

struct PeerOptions {
  std::string target;  // host:port.
  int pid = 0;         // The server's, for CPU and memory.
  int subscriptions = 10'000;
  int connections = 100;
  // etcd: watches that share a stream.
  int per_stream = 1;
  // etcd: read frames (MakeFrameStreams) rather than by gRPC's client.
  bool frames = false;
  int changes = 20;
  // The size of the value that changes.
  int value_bytes = 700;
  // Names this run's key, so that runs on one server do not meet.
  std::string key = "job";
};

// etcd's own gRPC API, version 3: a put of one key, and watches of it.
bool RunEtcd(const PeerOptions& options);

// NATS: a publication on one subject, and subscriptions to it. Nothing is kept on disk.
bool RunNats(const PeerOptions& options);

}  // namespace finetune::bench
