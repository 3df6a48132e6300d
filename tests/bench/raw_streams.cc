#include "tests/bench/raw_streams.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/jobs/record/wire.h"
#include "tests/bench/process.h"

namespace finetune::bench {

namespace pb = ::segmind::finetune::v1;

Reading ReadWatchResponse(std::string_view message) {
  using Response = pb::WatchFineTunesResponse;
  Reading reading;
  WireReader fields(message);
  while (fields.Next()) {
    switch (fields.field()) {
      case Response::kChangeFieldNumber:
        reading.what = Reading::What::kChange;
        break;
      case Response::kSyncedFieldNumber:
        reading.what = Reading::What::kReady;
        break;
      case Response::kRevisionFieldNumber:
        reading.revision = fields.number();
        break;
    }
  }
  return reading;
}

grpc::ByteBuffer ToBytes(std::string_view text) {
  grpc::Slice slice(text.data(), text.size());
  return grpc::ByteBuffer(&slice, 1);
}

std::shared_ptr<grpc::Channel> OwnChannel(const std::string& target, int number) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt("connection", number);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

void StreamReader::Take(std::string_view message, int64_t now) {
  const Reading reading = plan_.read(message);
  if (reading.what == Reading::What::kReady) {
    ++ready_;
    receipts_.AddReady();
  } else if (reading.what == Reading::What::kChange && ready_ == plan_.subscriptions) {
    if (IsWrong(reading.revision)) receipts_.AddWrong();
    receipts_.SetBytes(message.size());
    receipts_.Add(now);
  }
}

bool StreamReader::IsWrong(uint64_t revision) {
  times_ = revision == revision_ ? times_ + 1 : 1;
  const bool wrong = revision < revision_ || times_ > plan_.subscriptions;
  revision_ = revision;
  return wrong;
}

namespace {

class GrpcStream : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  GrpcStream(const std::shared_ptr<grpc::Channel>& channel, const StreamPlan& plan,
             Receipts& receipts)
      : receipts_(receipts), reader_(plan, receipts) {
    grpc::GenericStub(channel).PrepareBidiStreamingCall(&context_, plan.method, {}, this);
    StartRead(&message_);
    WriteOn();
    StartCall();
  }

  void OnWriteDone(bool ok) override {
    if (ok) WriteOn();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const int64_t now = NowNanoseconds();
    grpc::Slice slice;
    if (!message_.TrySingleSlice(&slice).ok()) message_.DumpToSingleSlice(&slice);
    reader_.Take({reinterpret_cast<const char*>(slice.begin()), slice.size()}, now);
    StartRead(&message_);
  }

  void OnDone(const grpc::Status&) override { receipts_.AddEnded(); }

  void Cancel() { context_.TryCancel(); }
  uint64_t revision() const { return reader_.revision(); }

 private:
  void WriteOn() {
    const auto& requests = reader_.plan().requests;
    if (written_ == requests.size()) return;
    request_ = ToBytes(requests[written_++]);
    if (written_ == requests.size() && reader_.plan().half_close) {
      StartWriteLast(&request_, {});
    } else {
      StartWrite(&request_);
    }
  }

  Receipts& receipts_;
  StreamReader reader_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer message_;
  size_t written_ = 0;
};

class GrpcStreams : public RawStreams {
 public:
  GrpcStreams(const std::string& target, int connections, Receipts& receipts)
      : receipts_(receipts) {
    for (int i = 0; i < connections; ++i) channels_.push_back(OwnChannel(target, i));
  }
  ~GrpcStreams() override {
    for (auto& stream : streams_) stream->Cancel();
    receipts_.AwaitEnded(static_cast<int>(streams_.size()));
  }

  void Open(const StreamPlan& plan) override {
    const auto& channel = channels_[streams_.size() % channels_.size()];
    streams_.push_back(std::make_unique<GrpcStream>(channel, plan, receipts_));
  }

  uint64_t LowestRevision() const override {
    uint64_t lowest = UINT64_MAX;
    for (const auto& stream : streams_) lowest = std::min(lowest, stream->revision());
    return lowest;
  }

 private:
  Receipts& receipts_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<GrpcStream>> streams_;
};

}  // namespace

std::unique_ptr<RawStreams> MakeGrpcStreams(const std::string& target, int connections,
                                            Receipts& receipts) {
  return std::make_unique<GrpcStreams>(target, connections, receipts);
}

}  // namespace finetune::bench
