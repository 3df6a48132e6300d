#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/url.h"

namespace finetune {

// Segmind's own hosts and the cloud storages that it uses.
inline constexpr std::string_view kDefaultTransferHosts =
    "segmind.com,*.segmind.com,s3.amazonaws.com,*.s3.amazonaws.com,s3.*.amazonaws.com,"
    "*.s3.*.amazonaws.com,storage.googleapis.com,*.storage.googleapis.com";

// Whether an address belongs to the public internet: not loopback, private, link-local, shared
// (CGNAT), multicast or reserved, nor an IPv6 form of such an IPv4 address.
bool IsPublicAddress(const sockaddr* address);

// Whether the name of a host alone, without DNS, shows that it leads into this network.
bool IsPrivateByName(const std::string& host);

// Which hosts bytes may come from and go to, so that no answer, redirect or caller can make the
// gateway talk to the network that it is in. Hosts are checked by name before a connection, and by
// the socket's address right before connect, when DNS has answered. Immutable; thread-safe.
//
// Only hosts that the operator has named exactly may have private addresses and be spoken to
// without TLS: the upstream URL's, for the emulator, and those in `hosts` beyond the default ones.
class AddressPolicy {
 public:
  // `hosts`: names, `*.name` (anything below it), `*` for one label elsewhere, each with `:port` if
  // only that one is meant. INVALID_ARGUMENT, in one sentence, for what is none.
  static absl::StatusOr<AddressPolicy> Create(const std::vector<std::string>& hosts,
                                              const std::string& upstream_url);

  // Of the host lists: whether a transfer may use this URL. PERMISSION_DENIED, naming the
  // host.
  absl::Status CheckTransfer(const Url& url) const;
  // The same for a URL that a caller brings: any host, but none that is a non-public address.
  absl::Status CheckForeign(const Url& url) const;

  // Whether a connection for that URL may go to addresses that are not public.
  bool MayBePrivate(const Url& url) const;

 private:
  struct Rule {
    std::vector<std::string> labels;  // "*" stands for one; in front, for one or more.
    int port = 0;                     // 0: any.
    bool exact = true;                // Named by the operator, so that it may be private.
  };

  static absl::StatusOr<Rule> ParseRule(const std::string& text);
  static bool Matches(const Rule& rule, const Url& url);

  std::vector<Rule> rules_;
};

}  // namespace finetune
