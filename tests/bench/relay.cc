// The smallest possible gateway for weights: a gRPC server whose DownloadWeights passes on what
// curl gets from --url, from one thread, with nothing in between. What gRPC and curl themselves
// cost: the floor that the gateway's own transfers are measured against. Prints its port. For
// measurements only: it checks nothing.
#include <curl/curl.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <iostream>
#include <memory>
#include <vector>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "tests/bench/loopback.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

std::string Varint(uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  return text += static_cast<char>(value);
}

using Service = pb::FineTuneService::WithRawMethod_DownloadWeights<pb::FineTuneService::Service>;

// One call at a time, in the thread of main.
class Relay {
 public:
  Relay(std::string url, size_t message_bytes) : url_(std::move(url)) {
    for (auto& block : blocks_) block.resize(message_bytes);
  }

  int Listen() {
    int port = 0;
    grpc::ServerBuilder builder;
    queue_ = builder.AddCompletionQueue();
    server_ = StartOnLoopback(builder, service_, port);
    return port;
  }

  void Serve() {
    while (true) {
      grpc::ServerContext context;
      grpc::ByteBuffer request;
      grpc::ServerAsyncWriter<grpc::ByteBuffer> writer(&context);
      service_.RequestDownloadWeights(&context, &request, &writer, queue_.get(), queue_.get(),
                                      this);
      if (!Next()) return;
      writer_ = &writer;
      under_way_ = false;
      filled_ = 0;
      const bool good = Fetch() && Send() && (!under_way_ || Next());
      writer.Finish(good ? grpc::Status::OK : grpc::Status::CANCELLED, this);
      Next();
    }
  }

 private:
  bool Next() {
    void* tag;
    bool ok;
    return queue_->Next(&tag, &ok) && ok;
  }

  bool Fetch() {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                   curl_easy_cleanup);
    curl_easy_setopt(curl.get(), CURLOPT_URL, url_.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, this);
    curl_easy_setopt(
        curl.get(), CURLOPT_WRITEFUNCTION, +[](char* data, size_t size, size_t count, void* self) {
          return static_cast<Relay*>(self)->Take(data, size * count);
        });
    return curl_easy_perform(curl.get()) == CURLE_OK;
  }

  size_t Take(const char* data, size_t size) {
    for (size_t done = 0; done < size;) {
      std::string& block = blocks_[turn_];
      const size_t part = std::min(size - done, block.size() - filled_);
      std::memcpy(block.data() + filled_, data + done, part);
      filled_ += part;
      done += part;
      if (filled_ == block.size() && !Send()) return 0;
    }
    return size;
  }

  // Sends the block, and waits for the one before it: two take turns.
  bool Send() {
    if (filled_ == 0) return true;
    if (under_way_ && !Next()) return false;
    // Field chunk, length.
    grpc::Slice slices[] = {
        grpc::Slice(std::string(1, pb::DownloadWeightsResponse::kChunkFieldNumber << 3 | 2) +
                    Varint(filled_)),
        grpc::Slice(blocks_[turn_].data(), filled_, grpc::Slice::STATIC_SLICE)};
    message_ = grpc::ByteBuffer(slices, 2);
    writer_->Write(message_, this);
    under_way_ = true;
    turn_ = 1 - turn_;
    filled_ = 0;
    return true;
  }

  const std::string url_;
  Service service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;

  grpc::ServerAsyncWriter<grpc::ByteBuffer>* writer_ = nullptr;
  std::string blocks_[2];
  int turn_ = 0;
  size_t filled_ = 0;
  bool under_way_ = false;
  grpc::ByteBuffer message_;
};

}  // namespace
}  // namespace finetune::bench

int main(int argc, char** argv) {
  std::string url;
  size_t message_bytes = 1 << 20;
  CLI::App app("The smallest gRPC relay of a file");
  app.add_option("--url", url)->required();
  app.add_option("--message-bytes", message_bytes);
  CLI11_PARSE(app, argc, argv);
  finetune::bench::Relay relay(url, message_bytes);
  std::cout << relay.Listen() << std::endl;
  relay.Serve();
}
