// The least that a get and a list of ready bytes cost with gRPC in C++: a server on the completion
// queue API with one thread, which does nothing else. Prints its port. For measurements only.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "tests/bench/bare_jobs.h"
#include "tests/bench/loopback.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

using Service = pb::FineTuneService::WithRawMethod_GetFineTune<
    pb::FineTuneService::WithRawMethod_ListFineTunes<pb::FineTuneService::Service>>;
using Bytes = grpc::ByteBuffer;

class Server {
 public:
  explicit Server(const Jobs& jobs) : items_(jobs.Items()), got_(jobs.got.SerializeAsString()) {}

  int Listen() {
    int port = 0;
    grpc::ServerBuilder builder;
    SetAsTheGateway(builder);
    queue_ = builder.AddCompletionQueue();
    server_ = StartOnLoopback(builder, service_, port);
    return port;
  }

  void Serve() {
    for (int i = 0; i < 64; ++i) {
      Ask(false);
      Ask(true);
    }
    void* tag = nullptr;
    bool ok = false;
    while (queue_->Next(&tag, &ok)) On(static_cast<Call*>(tag));
  }

 private:
  struct Call {
    bool is_list;
    bool answered = false;
    grpc::ServerContext context;
    Bytes request;
    grpc::ServerAsyncResponseWriter<Bytes> writer{&context};
  };

  void Ask(bool list) {
    auto* call = new Call{.is_list = list};
    if (list)
      service_.RequestListFineTunes(&call->context, &call->request, &call->writer, queue_.get(),
                                    queue_.get(), call);
    else
      service_.RequestGetFineTune(&call->context, &call->request, &call->writer, queue_.get(),
                                  queue_.get(), call);
  }

  void On(Call* call) {
    if (std::exchange(call->answered, true)) {
      delete call;
      return;
    }
    Ask(call->is_list);
    call->writer.Finish(call->is_list ? List(call->request) : Bytes(&got_, 1), grpc::Status::OK,
                        call);
  }

  Bytes List(Bytes request) const {
    pb::ListFineTunesRequest parsed;
    grpc::SerializationTraits<pb::ListFineTunesRequest>::Deserialize(&request, &parsed);
    return Bytes(items_.data(), std::min<size_t>(parsed.page_size(), items_.size()));
  }

  const std::vector<grpc::Slice> items_;
  const grpc::Slice got_;
  Service service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace
}  // namespace finetune::bench

int main(int argc, char** argv) {
  std::string copy_from;
  int jobs = 1000;
  CLI::App app("Bare gRPC server with one thread, for comparisons");
  app.add_option("--jobs", jobs);
  app.add_option("--copy-from", copy_from, "HOST:PORT of a gateway with as many jobs");
  CLI11_PARSE(app, argc, argv);
  const std::optional<finetune::bench::Jobs> known = finetune::bench::JobsOf(copy_from, jobs);
  if (!known) {
    std::cerr << "no " << jobs << " jobs at " << copy_from << "\n";
    return 1;
  }
  finetune::bench::Server server(*known);
  std::cout << server.Listen() << std::endl;
  server.Serve();
}
