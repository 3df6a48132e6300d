#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <future>
#include <iostream>
#include <string>
#include <vector>

#include "client/cpp/connection.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "tests/bench/transport.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

grpc::ByteBuffer Serialised(const google::protobuf::Message& message) {
  grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

class GrpcTransport : public Transport {
 public:
  explicit GrpcTransport(const CallsOptions& options) : options_(options) {
    const auto credentials = Credentials();
    for (int i = 0; i < options.connections; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      arguments.SetInt("connection", i);
      arguments.SetMaxReceiveMessageSize(-1);
      stubs_.push_back(std::make_unique<grpc::GenericStub>(
          grpc::CreateCustomChannel(options.target, credentials, arguments)));
    }
    SetRequest();
  }

  size_t answer_bytes() const override { return first_.size(); }

  bool CheckFirst() override {
    Call call;
    Authorize(call);
    std::promise<grpc::Status> ended;
    stubs_[0]->UnaryCall(&call.context, method_, {}, &request_, &call.response,
                         [&](grpc::Status status) { ended.set_value(std::move(status)); });
    const grpc::Status status = ended.get_future().get();
    std::vector<grpc::Slice> slices;
    if (status.ok() && call.response.Dump(&slices).ok()) {
      for (const grpc::Slice& slice : slices)
        first_.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    size_t items = 0;
    if (pb::ListFineTunesResponse list; options_.call == "list" && list.ParseFromString(first_))
      items = list.fine_tunes_size();
    if (status.ok() && (options_.expect_items == 0 || items == options_.expect_items)) return true;
    std::cerr << "the first call failed: " << status.error_message() << ", " << items << " items\n";
    return false;
  }

  void Start(Done done) override {
    auto* call = new Call;
    call->done = std::move(done);
    Authorize(*call);
    stubs_[next_++ % stubs_.size()]->UnaryCall(
        &call->context, method_, {}, &request_, &call->response, [this, call](grpc::Status status) {
          const Done done = std::move(call->done);
          const Answer answer = Judge(status, call->response);
          delete call;
          done(answer);
        });
  }

 private:
  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer response;
    Done done;
  };

  // Ends the process if the files are no good. The token is read once: what a call costs is asked.
  std::shared_ptr<grpc::ChannelCredentials> Credentials() {
    const auto connection = Connection::Open(options_.target, options_.connect);
    const auto authorization =
        connection.ok() ? (*connection)->Authorization() : connection.status();
    if (!authorization.ok()) {
      std::cerr << authorization.status().message() << "\n";
      std::exit(1);
    }
    authorization_ = *authorization;
    return MakeCredentials(options_.connect, (*connection)->tls_pem());
  }

  void Authorize(Call& call) const {
    if (!authorization_.empty()) call.context.AddMetadata("authorization", authorization_);
  }

  void SetRequest() {
    if (options_.call == "get") {
      method_ = "/segmind.finetune.v1.FineTuneService/GetFineTune";
      pb::GetFineTuneRequest request;
      request.set_name(options_.job);
      if (options_.max_staleness_ms >= 0) {
        auto& age = *request.mutable_freshness()->mutable_max_staleness();
        age.set_seconds(options_.max_staleness_ms / 1000);
        age.set_nanos(static_cast<int32_t>(options_.max_staleness_ms % 1000 * 1'000'000));
      }
      request_ = Serialised(request);
    } else if (options_.call == "status") {
      method_ = "/segmind.finetune.v1.FineTuneService/GetGatewayStatus";
      request_ = Serialised(pb::GetGatewayStatusRequest());
    } else {
      method_ = "/segmind.finetune.v1.FineTuneService/ListFineTunes";
      pb::ListFineTunesRequest request;
      request.set_page_size(options_.page_size);
      request_ = Serialised(request);
    }
  }

  Answer Judge(const grpc::Status& status, const grpc::ByteBuffer& answer) const {
    if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) return Answer::kRefused;
    const bool good = status.ok() && (options_.varying || IsFirst(answer));
    return good ? Answer::kGood : Answer::kWrong;
  }

  bool IsFirst(const grpc::ByteBuffer& answer) const {
    std::vector<grpc::Slice> slices;
    if (answer.Length() != first_.size() || !answer.Dump(&slices).ok()) return false;
    const char* expected = first_.data();
    for (const grpc::Slice& slice : slices) {
      if (std::memcmp(slice.begin(), expected, slice.size()) != 0) return false;
      expected += slice.size();
    }
    return true;
  }

  const CallsOptions options_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::string authorization_;
  std::string method_;
  grpc::ByteBuffer request_;
  std::string first_;
  std::atomic<size_t> next_{0};
};

}  // namespace

std::unique_ptr<Transport> MakeGrpcTransport(const CallsOptions& options) {
  return std::make_unique<GrpcTransport>(options);
}

}  // namespace finetune::bench
