#include <mutex>
#include <vector>

#include "tests/bench/raw_streams.h"
#include "tests/bench/sockets.h"

namespace finetune::bench {
namespace {

// HTTP/2, as far as reading streams of gRPC messages takes it (RFC 9113, RFC 7541).
enum Type : uint8_t {
  kData = 0,
  kHeaders = 1,
  kResetStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
};
constexpr uint8_t kEndStream = 0x1, kAck = 0x1, kEndHeaders = 0x4;
constexpr size_t kFrameHeader = 9, kMessageHeader = 5;
constexpr uint32_t kLargestWindow = 0x7fffffff, kFirstWindow = 65535;
// How much is read before the connection's window is opened again.
constexpr uint32_t kWindowStep = 1 << 20;

std::string BigEndian(uint32_t number, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(number >> (8 * i)));
  return out;
}

uint32_t Number(std::string_view bytes) {
  uint32_t number = 0;
  for (const char c : bytes) number = number << 8 | static_cast<unsigned char>(c);
  return number;
}

std::string Frame(Type type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out = BigEndian(static_cast<uint32_t>(payload.size()), 3);
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  return out.append(BigEndian(stream, 4)).append(payload);
}

// A header's string, not Huffman-coded; shorter than 127 bytes.
std::string Text(std::string_view text) {
  return std::string(1, static_cast<char>(text.size())).append(text);
}

// Headers from HPACK's static table by their numbers, and others as they are, none remembered.
std::string RequestHeaders(const std::string& method) {
  std::string out = "\x83\x86";   // :method POST, :scheme http
  out += "\x04" + Text(method);   // :path
  out += "\x01" + Text("bench");  // :authority
  out += std::string(1, '\0') + Text("te") + Text("trailers");
  out += "\x0f\x10" + Text("application/grpc");  // content-type
  return out;
}

class FrameConnection {
 public:
  FrameConnection(const std::string& target, Receipts& receipts)
      : receipts_(receipts), socket_(target) {
    const std::string settings = BigEndian(4, 2) + BigEndian(kLargestWindow, 4);
    socket_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, settings) +
                 Frame(kWindowUpdate, 0, 0, BigEndian(kLargestWindow - kFirstWindow, 4)));
  }

  Socket& socket() { return socket_; }

  void Open(const StreamPlan& plan) {
    std::lock_guard lock(mu_);
    streams_.push_back(std::make_unique<Stream>(plan, receipts_));
    const auto id = static_cast<uint32_t>(2 * streams_.size() - 1);
    std::string out = Frame(kHeaders, kEndHeaders, id, RequestHeaders(plan.method));
    for (const std::string& request : plan.requests) {
      const bool last = &request == &plan.requests.back() && plan.half_close;
      const std::string header =
          std::string(1, '\0') + BigEndian(static_cast<uint32_t>(request.size()), 4);
      out += Frame(kData, last ? kEndStream : 0, id, header + request);
    }
    socket_.Send(out);
  }

  // Whole frames.
  size_t Parse(std::string_view bytes, int64_t now) {
    std::lock_guard lock(mu_);
    size_t done = 0;
    while (bytes.size() - done >= kFrameHeader) {
      const std::string_view frame = bytes.substr(done);
      const size_t length = Number(frame.substr(0, 3));
      if (frame.size() < kFrameHeader + length) break;
      TakeFrame(frame[3], frame[4], Number(frame.substr(5, 4)), frame.substr(kFrameHeader, length),
                now);
      done += kFrameHeader + length;
    }
    return done;
  }

  uint64_t LowestRevision() {
    std::lock_guard lock(mu_);
    uint64_t lowest = UINT64_MAX;
    for (const auto& stream : streams_) lowest = std::min(lowest, stream->reader.revision());
    return lowest;
  }

 private:
  struct Stream {
    Stream(const StreamPlan& plan, Receipts& receipts) : reader(plan, receipts) {}
    StreamReader reader;
    std::string left;  // The beginning of a message.
  };

  void TakeFrame(uint8_t type, uint8_t flags, uint32_t id, std::string_view payload, int64_t now) {
    switch (type) {
      case kData:
        TakeData(*streams_[id / 2], payload, now);
        if ((flags & kEndStream) != 0) receipts_.AddEnded();
        break;
      case kHeaders:
        if ((flags & kEndStream) != 0) receipts_.AddEnded();
        break;
      case kResetStream:
      case kGoAway:
        receipts_.AddEnded();
        break;
      case kSettings:
      case kPing:
        if ((flags & kAck) != 0) break;
        socket_.Send(
            Frame(static_cast<Type>(type), kAck, 0, type == kPing ? payload : std::string_view()));
        break;
    }
  }

  void TakeData(Stream& stream, std::string_view payload, int64_t now) {
    unacknowledged_ += static_cast<uint32_t>(payload.size());
    if (unacknowledged_ >= kWindowStep) {
      socket_.Send(Frame(kWindowUpdate, 0, 0, BigEndian(unacknowledged_, 4)));
      unacknowledged_ = 0;
    }
    if (stream.left.empty()) {
      stream.left.assign(payload.substr(TakeMessages(stream, payload, now)));
      return;
    }
    stream.left.append(payload);
    stream.left.erase(0, TakeMessages(stream, stream.left, now));
  }

  // Whole messages.
  static size_t TakeMessages(Stream& stream, std::string_view bytes, int64_t now) {
    size_t done = 0;
    while (bytes.size() - done >= kMessageHeader) {
      const std::string_view rest = bytes.substr(done);
      const size_t length = Number(rest.substr(1, 4));
      if (rest.size() < kMessageHeader + length) break;
      stream.reader.Take(rest.substr(kMessageHeader, length), now);
      done += kMessageHeader + length;
    }
    return done;
  }

  Receipts& receipts_;
  Socket socket_;

  // Guarded by mu_: streams are opened while others are read.
  std::mutex mu_;
  std::vector<std::unique_ptr<Stream>> streams_;
  uint32_t unacknowledged_ = 0;
};

class FrameStreams : public RawStreams {
 public:
  FrameStreams(const std::string& target, int connections, Receipts& receipts) {
    std::vector<SocketReaders::Entry> entries;
    for (int i = 0; i < connections; ++i) {
      connections_.push_back(std::make_unique<FrameConnection>(target, receipts));
      FrameConnection& connection = *connections_.back();
      entries.push_back({&connection.socket(), [&connection](std::string_view bytes, int64_t now) {
                           return connection.Parse(bytes, now);
                         }});
    }
    readers_ = std::make_unique<SocketReaders>(std::move(entries), [&] { receipts.AddEnded(); });
  }

  void Open(const StreamPlan& plan) override {
    connections_[opened_++ % connections_.size()]->Open(plan);
  }

  uint64_t LowestRevision() const override {
    uint64_t lowest = UINT64_MAX;
    for (const auto& connection : connections_)
      lowest = std::min(lowest, connection->LowestRevision());
    return lowest;
  }

 private:
  std::vector<std::unique_ptr<FrameConnection>> connections_;
  size_t opened_ = 0;
  // Last: it reads of the connections.
  std::unique_ptr<SocketReaders> readers_;
};

}  // namespace

std::unique_ptr<RawStreams> MakeFrameStreams(const std::string& target, int connections,
                                             Receipts& receipts) {
  return std::make_unique<FrameStreams>(target, connections, receipts);
}

}  // namespace finetune::bench
