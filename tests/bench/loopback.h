#pragma once

#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>

namespace finetune::bench {

// How the servers of the benchmarks listen: on a free port of this machine.

// What the gateway sets, where it may cost something: pings that find dead clients, and how much is
// read ahead.
inline void SetAsTheGateway(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 35'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
}

inline std::unique_ptr<grpc::Server> StartOnLoopback(grpc::ServerBuilder& builder,
                                                     grpc::Service& service, int& port) {
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  return builder.BuildAndStart();
}

// Prints the port, and serves until the process is ended.
inline void Serve(grpc::ServerBuilder& builder, grpc::Service& service) {
  int port = 0;
  const std::unique_ptr<grpc::Server> server = StartOnLoopback(builder, service, port);
  std::cout << port << std::endl;
  server->Wait();
}

}  // namespace finetune::bench
