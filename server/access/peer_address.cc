#include "server/access/peer_address.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/str_replace.h"

namespace finetune {

std::string AddressOf(std::string_view peer) {
  const size_t scheme = peer.find(':'), port = peer.rfind(':');
  if (peer.substr(0, 3) != "ipv" || scheme == port) return "";
  const std::string_view address = peer.substr(scheme + 1, port - scheme - 1);
  if (peer[3] == '4') return std::string(address);
  return absl::StrReplaceAll(absl::string_view(address.data(), address.size()),
                             {{"%5B", ""}, {"%5D", ""}, {"[", ""}, {"]", ""}});
}

std::string MachineOf(std::string_view peer) {
  std::string address = AddressOf(peer);
  if (address.empty()) return std::string(peer);
  in6_addr six;
  const std::string without_zone = address.substr(0, address.find('%'));
  if (inet_pton(AF_INET6, without_zone.c_str(), &six) != 1) return address;
  char text[INET6_ADDRSTRLEN];
  if (IN6_IS_ADDR_V4MAPPED(&six)) return inet_ntop(AF_INET, six.s6_addr + 12, text, sizeof(text));
  std::fill(six.s6_addr + 8, six.s6_addr + 16, 0);
  return inet_ntop(AF_INET6, &six, text, sizeof(text));
}

}  // namespace finetune
