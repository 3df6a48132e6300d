#pragma once

#include <grpcpp/impl/server_builder_option.h>

#include <memory>

namespace finetune {

// Reflection by grpc.reflection.v1, beside the v1alpha of gRPC's own library, because today's tools
// ask for v1 first, and some for nothing else. Put the option into a server's builder. It is served
// on gRPC's own threads, like v1alpha, and is open to everybody who reaches the port.
std::unique_ptr<grpc::ServerBuilderOption> MakeReflectionOption();

}  // namespace finetune
