#include "tests/bench/raw_streams.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>

#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/jobs/wire.h"
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

class RawStreams::Stream : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(const std::shared_ptr<grpc::Channel>& channel, const StreamPlan& plan, Receipts& receipts)
      : receipts_(receipts), plan_(plan) {
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
    const std::string_view text(reinterpret_cast<const char*>(slice.begin()), slice.size());
    const Reading reading = plan_.read(text);
    if (reading.what == Reading::What::kReady) {
      ++ready_;
      receipts_.AddReady();
    } else if (reading.what == Reading::What::kChange && ready_ == plan_.subscriptions) {
      if (IsWrong(reading.revision)) receipts_.AddWrong();
      receipts_.SetBytes(slice.size());
      receipts_.Add(now);
    }
    StartRead(&message_);
  }

  void OnDone(const grpc::Status&) override { receipts_.AddEnded(); }

  void Cancel() { context_.TryCancel(); }
  uint64_t revision() const { return revision_; }

 private:
  void WriteOn() {
    if (written_ == plan_.requests.size()) return;
    const grpc::ByteBuffer& request = plan_.requests[written_++];
    if (written_ == plan_.requests.size() && plan_.half_close) {
      StartWriteLast(&request, {});
    } else {
      StartWrite(&request);
    }
  }

  // Older than what came before, or more often than there are subscriptions.
  bool IsWrong(uint64_t revision) {
    times_ = revision == revision_ ? times_ + 1 : 1;
    const bool wrong = revision < revision_ || times_ > plan_.subscriptions;
    revision_ = revision;
    return wrong;
  }

  Receipts& receipts_;
  const StreamPlan plan_;
  grpc::ClientContext context_;
  grpc::ByteBuffer message_;
  size_t written_ = 0;
  int ready_ = 0;
  std::atomic<uint64_t> revision_{0};
  int times_ = 0;
};

RawStreams::RawStreams(const std::string& target, int connections, Receipts& receipts)
    : receipts_(receipts) {
  for (int i = 0; i < connections; ++i) channels_.push_back(OwnChannel(target, i));
}

RawStreams::~RawStreams() {
  for (auto& stream : streams_) stream->Cancel();
  receipts_.AwaitEnded(size());
}

void RawStreams::Open(const StreamPlan& plan) {
  const auto& channel = channels_[streams_.size() % channels_.size()];
  streams_.push_back(std::make_unique<Stream>(channel, plan, receipts_));
}

uint64_t RawStreams::LowestRevision() const {
  uint64_t lowest = UINT64_MAX;
  for (const auto& stream : streams_) lowest = std::min(lowest, stream->revision());
  return lowest;
}

}  // namespace finetune::bench
