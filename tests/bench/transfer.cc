#include "tests/bench/transfer.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/cpp/channel.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "tests/bench/process.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

constexpr int64_t kChunk = 1 << 20;

// A call of raw bytes, driven from one thread.
class RawCall {
 public:
  // On a connection as the client library makes it.
  RawCall(const std::string& target, const std::string& method)
      : stub_(MakeChannel(target, {}, grpc::InsecureChannelCredentials())) {
    call_ = stub_.PrepareCall(&context_, "/segmind.finetune.v1.FineTuneService/" + method, &queue_);
    call_->StartCall(this);
    Next();
  }
  ~RawCall() {
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) continue;
  }

  bool Write(const grpc::ByteBuffer& message) {
    call_->Write(message, this);
    return Next();
  }
  void WritesDone() {
    call_->WritesDone(this);
    Next();
  }
  bool Read(grpc::ByteBuffer& message) {
    call_->Read(&message, this);
    return Next();
  }
  grpc::Status Finish() {
    grpc::Status status;
    call_->Finish(&status, this);
    Next();
    return status;
  }

 private:
  bool Next() {
    void* tag;
    bool ok;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

grpc::ByteBuffer Bytes(const google::protobuf::Message& message) {
  grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// Moves a file once; says how many bytes moved.
grpc::Status Download(const TransferOptions& options, int64_t& moved) {
  RawCall call(options.target, "DownloadWeights");
  pb::DownloadWeightsRequest request;
  request.set_name(options.job);
  request.set_skip_sha256(options.skip_sha256);
  call.Write(Bytes(request));
  call.WritesDone();
  grpc::ByteBuffer message;
  // The few bytes around each chunk count too.
  for (moved = 0; call.Read(message);) moved += static_cast<int64_t>(message.Length());
  return call.Finish();
}

// Numbers as zips have them.
std::string Little(std::initializer_list<std::pair<int, int64_t>> fields) {
  std::string bytes;
  for (auto [size, value] : fields)
    for (; size > 0; --size, value >>= 8) bytes += static_cast<char>(value);
  return bytes;
}

// What stands around one image in a zip of that size, since only a zip of images is let through.
// The image is not packed, and nobody looks whether it is one.
struct Zip {
  explicit Zip(int64_t size) {
    const std::string name = "image.png";
    const auto entry = [&](int64_t image) {
      // Version, flags, method, time, date, CRC, sizes, and those of the name and of more.
      return Little({{2, 20},
                     {2, 0},
                     {2, 0},
                     {2, 0},
                     {2, 0x21},
                     {4, 0},
                     {4, image},
                     {4, image},
                     {2, static_cast<int64_t>(name.size())},
                     {2, 0}});
    };
    const auto around = [&](int64_t image) {
      head = "PK\3\4" + entry(image) + name;
      const std::string directory = "PK\1\2" + Little({{2, 20}}) + entry(image) +
                                    Little({{2, 0}, {2, 0}, {2, 0}, {4, 0}, {4, 0}}) + name;
      tail = directory + "PK\5\6" +
             Little({{2, 0},
                     {2, 0},
                     {2, 1},
                     {2, 1},
                     {4, static_cast<int64_t>(directory.size())},
                     {4, static_cast<int64_t>(head.size()) + image},
                     {2, 0}});
    };
    around(0);
    tail_begin = size - static_cast<int64_t>(tail.size());
    around(tail_begin - static_cast<int64_t>(head.size()));
  }

  bool IsImage(int64_t begin, int64_t size) const {
    return begin >= static_cast<int64_t>(head.size()) && begin + size <= tail_begin;
  }
  // Of its bytes from `begin` on, which are the image's, makes what they are.
  void Write(int64_t begin, std::string& bytes) const {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const int64_t at = begin + static_cast<int64_t>(i);
      if (at < static_cast<int64_t>(head.size())) bytes[i] = head[static_cast<size_t>(at)];
      if (at >= tail_begin) bytes[i] = tail[static_cast<size_t>(at - tail_begin)];
    }
  }

  std::string head, tail;
  int64_t tail_begin = 0;
};

grpc::Status Upload(const TransferOptions& options, int64_t& moved) {
  RawCall call(options.target, "UploadDataset");
  pb::UploadDatasetRequest spec;
  spec.mutable_spec()->set_file_name("bench.zip");
  spec.mutable_spec()->set_size_bytes(options.size_bytes);
  spec.mutable_spec()->set_public_read(true);
  bool open = call.Write(Bytes(spec));
  const Zip zip(options.size_bytes);
  pb::UploadDatasetRequest chunk;
  chunk.set_chunk(std::string(kChunk, 'x'));
  const grpc::ByteBuffer full = Bytes(chunk);
  for (moved = 0; open && moved < options.size_bytes;) {
    const int64_t size = std::min(options.size_bytes - moved, kChunk);
    if (size == kChunk && zip.IsImage(moved, size)) {
      open = call.Write(full);
    } else {
      chunk.mutable_chunk()->assign(static_cast<size_t>(size), 'x');
      zip.Write(moved, *chunk.mutable_chunk());
      open = call.Write(Bytes(chunk));
    }
    moved += size;
  }
  call.WritesDone();
  grpc::ByteBuffer answer;
  call.Read(answer);
  return call.Finish();
}

using Move = std::function<grpc::Status(const TransferOptions&, int64_t&)>;

bool Run(const TransferOptions& options, const Move& move) {
  // What gRPC receives is kept for what comes next, not given back and faulted in again.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  std::mutex mu;
  std::optional<grpc::Status> failure;
  std::atomic<int64_t> moved = 0, refused = 0;
  const int64_t start = NowNanoseconds();
  std::vector<std::thread> threads;
  for (int i = 0; i < options.at_once; ++i) {
    threads.emplace_back([&] {
      while (true) {
        int64_t bytes = 0;
        const grpc::Status status = move(options, bytes);
        if (status.error_code() == grpc::RESOURCE_EXHAUSTED) {
          ++refused;
          std::this_thread::sleep_for(std::chrono::milliseconds(100));
          continue;
        }
        moved += bytes;
        if (status.ok() && bytes >= options.size_bytes) return;
        std::lock_guard lock(mu);
        failure = status;
        return;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = static_cast<double>(NowNanoseconds() - start) / 1e9;
  if (failure) std::cerr << "a transfer failed: " << failure->error_message() << "\n";
  std::cout << absl::StrFormat(R"({"bytes": %d, "seconds": %.4f, "mb_per_s": %.1f, "refused": %d})",
                               moved.load(), seconds,
                               static_cast<double>(moved.load()) / 1e6 / seconds, refused.load())
            << std::endl;
  return !failure;
}

}  // namespace

bool RunDownload(const TransferOptions& options) { return Run(options, Download); }

bool RunUpload(const TransferOptions& options) { return Run(options, Upload); }

}  // namespace finetune::bench
