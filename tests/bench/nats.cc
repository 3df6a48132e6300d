#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/bench/changes.h"
#include "tests/bench/peers.h"
#include "tests/bench/process.h"
#include "tests/bench/sockets.h"

namespace finetune::bench {
namespace {

constexpr std::string_view kConnect = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

// A connection of NATS's text protocol.
class NatsConnection {
 public:
  NatsConnection(const std::string& target, Receipts& receipts)
      : receipts_(receipts), socket_(target) {
    socket_.Send(kConnect);
  }

  Socket& socket() { return socket_; }

  size_t Parse(std::string_view bytes, int64_t now) {
    size_t done = 0;
    while (const size_t size = TakeMessage(bytes.substr(done), now)) done += size;
    return done;
  }

 private:
  // The size of the message that `text` begins with; 0 if it is not complete.
  size_t TakeMessage(std::string_view text, int64_t now) {
    const size_t line = text.find("\r\n");
    if (line == std::string_view::npos) return 0;
    if (text.starts_with("PING")) socket_.Send("PONG\r\n");
    if (text.starts_with("PONG")) receipts_.AddReady();
    if (text.starts_with("-ERR")) receipts_.AddEnded();
    if (!text.starts_with("MSG ")) return line + 2;
    // MSG subject sid size
    size_t payload = 0;
    const std::string_view size = text.substr(0, line).substr(text.rfind(' ', line) + 1);
    if (!absl::SimpleAtoi(absl::string_view(size.data(), size.size()), &payload)) return 0;
    const size_t whole = line + 2 + payload + 2;
    if (text.size() < whole) return 0;
    receipts_.SetBytes(whole);
    receipts_.Add(now);
    return whole;
  }

  Receipts& receipts_;
  Socket socket_;
};

std::string Publication(const PeerOptions& options, int change) {
  std::string value(options.value_bytes, 'v');
  value.replace(0, 7, std::to_string(1'000'000 + change));
  return absl::StrCat("PUB ", options.key, " ", value.size(), "\r\n", value, "\r\n");
}

}  // namespace

bool RunNats(const PeerOptions& options) {
  const ChangesOptions changes{options.pid, options.subscriptions, options.subscriptions,
                               options.changes};
  Receipts receipts(options.subscriptions);
  NatsConnection publisher(options.target, receipts);
  const MakeChange make = [&](int change) -> std::optional<int64_t> {
    const int64_t start = NowNanoseconds();
    publisher.socket().Send(Publication(options, change));
    if (!publisher.socket().ok()) return std::nullopt;
    return start;
  };
  const int64_t memory_before = ResidentBytes(options.pid);
  std::vector<std::unique_ptr<NatsConnection>> connections;
  for (int i = 0; i < options.connections; ++i) {
    connections.push_back(std::make_unique<NatsConnection>(options.target, receipts));
  }
  for (int i = 0; i < options.subscriptions; ++i) {
    connections[i % connections.size()]->socket().Send(
        absl::StrCat("SUB ", options.key, " ", i, "\r\n"));
  }
  // Its answer says that the server has taken what came before it.
  std::vector<SocketReaders::Entry> entries;
  for (auto& connection : connections) {
    connection->socket().Send("PING\r\n");
    entries.push_back({&connection->socket(), [&connection](std::string_view bytes, int64_t now) {
                         return connection->Parse(bytes, now);
                       }});
  }
  const SocketReaders readers(std::move(entries), [&] { receipts.AddEnded(); });
  if (!receipts.AwaitReady(options.connections)) {
    std::cerr << "NATS did not take the subscriptions\n";
    return false;
  }
  const auto memory = static_cast<double>(ResidentBytes(options.pid) - memory_before);
  ChangesResult result = MeasureChanges(changes, receipts, make);
  result.bytes_per_receiver = memory / options.subscriptions;
  std::cout << ToJson(changes, receipts, result) << std::endl;
  return result.complete;
}

}  // namespace finetune::bench
