#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/json/json.h"

namespace finetune {

// What gRPC has counted of one connection's streams.
struct StreamCounts {
  int64_t started = 0;
  int64_t ended = 0;
  int64_t failed = 0;  // Of those that ended: taken back, or cut off.
  // On all of them.
  int64_t messages_received = 0;
  int64_t messages_sent = 0;
};

// What gRPC counts about the connections of this process's servers, whether or not channelz is
// served; reading it here costs calls nothing. Not thread-safe.
class ConnectionStreams {
 public:
  // Of the connection from `peer`; nullopt if there is none yet, or no longer.
  std::optional<StreamCounts> Of(const std::string& peer);

  // Connections have come since: looks for those that it does not know.
  void Refresh() { is_new_ = false; }

 private:
  void List();
  void ListSockets(int64_t server);

  JsonParser parser_;
  absl::flat_hash_map<std::string, int64_t> ids_;  // Channelz's, by peer.
  bool is_new_ = false;                            // `ids_`.
};

}  // namespace finetune
