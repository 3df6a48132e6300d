#include "server/service/connections/connection_streams.h"

#include <grpc/grpc.h>
#include <grpc/support/alloc.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>
#include <vector>

namespace finetune {
namespace {

using Text = std::unique_ptr<char, void (*)(void*)>;

constexpr intptr_t kPage = 500;

const JsonValue* Member(const JsonValue* value, const char* name) {
  if (value == nullptr || !value->IsObject()) return nullptr;
  const auto found = value->FindMember(name);
  return found == value->MemberEnd() ? nullptr : &found->value;
}

std::string_view TextIn(const JsonValue* value, const char* name) {
  const JsonValue* text = Member(value, name);
  if (text == nullptr || !text->IsString()) return {};
  return {text->GetString(), text->GetStringLength()};
}

// Channelz writes numbers as text, and leaves out those that are 0.
int64_t Number(const JsonValue* value, const char* name) {
  const std::string_view text = TextIn(value, name);
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

std::optional<StreamCounts> ConnectionStreams::Of(const std::string& peer) {
  auto id = ids_.find(peer);
  if (id == ids_.end() && !is_new_) {
    List();
    id = ids_.find(peer);
  }
  if (id == ids_.end()) return std::nullopt;
  const Text text(grpc_channelz_get_socket(id->second), gpr_free);
  if (text == nullptr) {
    ids_.erase(id);
    return std::nullopt;
  }
  const JsonValue* data = Member(Member(parser_.Parse(text.get()), "socket"), "data");
  if (data == nullptr) return std::nullopt;
  return StreamCounts{.started = Number(data, "streamsStarted"),
                      .ended = Number(data, "streamsSucceeded") + Number(data, "streamsFailed"),
                      .failed = Number(data, "streamsFailed"),
                      .messages_received = Number(data, "messagesReceived"),
                      .messages_sent = Number(data, "messagesSent")};
}

void ConnectionStreams::List() {
  is_new_ = true;
  ids_.clear();
  const Text text(grpc_channelz_get_servers(0), gpr_free);
  if (text == nullptr) return;
  std::vector<int64_t> servers;
  const JsonValue* listed = Member(parser_.Parse(text.get()), "server");
  if (listed == nullptr || !listed->IsArray()) return;
  for (const JsonValue& server : listed->GetArray())
    servers.push_back(Number(Member(&server, "ref"), "serverId"));
  for (const int64_t server : servers) ListSockets(server);
}

void ConnectionStreams::ListSockets(int64_t server) {
  int64_t next = 0;
  bool is_last = false;
  while (!is_last) {
    const Text text(grpc_channelz_get_server_sockets(server, next, kPage), gpr_free);
    if (text == nullptr) return;
    const JsonValue* page = parser_.Parse(text.get());
    const JsonValue* sockets = Member(page, "socketRef");
    if (sockets == nullptr || !sockets->IsArray()) return;
    is_last = Member(page, "end") != nullptr || sockets->Empty();
    for (const JsonValue& socket : sockets->GetArray()) {
      // Such as "chttp2 ipv4:192.0.2.1:4711".
      const std::string_view name = TextIn(&socket, "name");
      const int64_t id = Number(&socket, "socketId");
      ids_[std::string(name.substr(name.rfind(' ') + 1))] = id;
      next = std::max(next, id + 1);
    }
  }
}

}  // namespace finetune
