#include "server/http/address_policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

struct Block4 {
  uint32_t first;
  int bits;
};
// IANA's special-purpose registry: what is not globally reachable, and what is multicast.
constexpr Block4 kNotPublic4[] = {
    {0x00000000, 8},   // This network.
    {0x0a000000, 8},   // Private.
    {0x64400000, 10},  // Shared by carriers' NAT.
    {0x7f000000, 8},   // Loopback.
    {0xa9fe0000, 16},  // Link-local, clouds' metadata among them.
    {0xac100000, 12},  // Private.
    {0xc0000000, 24},  // Protocol assignments.
    {0xc0000200, 24},  // Documentation.
    {0xc0586300, 24},  // 6to4 relays.
    {0xc0a80000, 16},  // Private.
    {0xc6120000, 15},  // Benchmarks.
    {0xc6336400, 24},  // Documentation.
    {0xcb007100, 24},  // Documentation.
    {0xe0000000, 4},   // Multicast.
    {0xf0000000, 4},   // Reserved, broadcast.
};

bool IsPublic4(uint32_t address) {
  return std::none_of(std::begin(kNotPublic4), std::end(kNotPublic4), [&](const Block4& block) {
    return (address ^ block.first) >> (32 - block.bits) == 0;
  });
}

bool IsPublic6(const unsigned char* bytes) {
  // Only 2000::/3 is given out. Mapped, compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique
  // local, link-local and multicast addresses all lie outside.
  if (bytes[0] >> 5 != 1) return false;
  const uint32_t first =
      static_cast<uint32_t>(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
  if (first == 0x20010db8) return false;             // Documentation.
  if (first >> 9 == 0x20010000u >> 9) return false;  // Teredo and its neighbours.
  if (first >> 16 == 0x2002) return false;           // 6to4 carries IPv4 addresses.
  if (first >> 12 == 0x3fff0) return false;          // Documentation.
  return true;
}

// A host that is an address by itself.
std::optional<bool> LiteralIsPublic(const std::string& host) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1)
    return IsPublicAddress(reinterpret_cast<sockaddr*>(&v4));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1)
    return IsPublicAddress(reinterpret_cast<sockaddr*>(&v6));
  return std::nullopt;
}

absl::Status Refused(const UrlTarget& target, absl::string_view why) {
  return absl::PermissionDeniedError(
      absl::StrCat("the host '", ValidUtf8(target.host, 100), "' ", why));
}

}  // namespace

bool IsPublicAddress(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof(v4));
    return IsPublic4(ntohl(v4.sin_addr.s_addr));
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof(v6));
    return IsPublic6(v6.sin6_addr.s6_addr);
  }
  return false;
}

absl::StatusOr<AddressPolicy::Rule> AddressPolicy::ParseRule(const std::string& text) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", text, "' is no host such as storage.googleapis.com, *.segmind.com or storage:9000"));
  };
  Rule rule;
  absl::string_view host = text;
  if (absl::StartsWith(host, "[")) {
    const size_t close = host.find(']');
    if (close == host.npos) return bad();
    absl::string_view port = host.substr(close + 1);
    if (absl::ConsumePrefix(&port, ":") && !absl::SimpleAtoi(port, &rule.port)) return bad();
    rule.labels = {absl::AsciiStrToLower(host.substr(1, close - 1))};
    return rule;
  }
  if (const size_t colon = host.find(':'); colon != host.npos) {
    if (!absl::SimpleAtoi(host.substr(colon + 1), &rule.port) || rule.port < 1 || rule.port > 65535)
      return bad();
    host = host.substr(0, colon);
  }
  rule.labels = absl::StrSplit(absl::AsciiStrToLower(host), '.');
  for (const std::string& label : rule.labels) {
    if (label.empty()) return bad();
    if (label == "*")
      rule.exact = false;
    else if (!std::all_of(label.begin(), label.end(), IsHostCharacter))
      return bad();
  }
  // Everything would be no policy.
  if (rule.labels.back() == "*") return bad();
  return rule;
}

absl::StatusOr<AddressPolicy> AddressPolicy::Create(const std::vector<std::string>& hosts,
                                                    const std::string& upstream_url) {
  AddressPolicy policy;
  ASSIGN_OR_RETURN(const UrlTarget upstream, ParseTarget(upstream_url));
  Rule own{.port = upstream.port};
  if (absl::StrContains(upstream.host, ":"))
    own.labels = {upstream.host};
  else
    own.labels = absl::StrSplit(upstream.host, '.');
  policy.rules_.push_back(std::move(own));
  const std::vector<std::string> defaults = absl::StrSplit(
      absl::string_view(kDefaultTransferHosts.data(), kDefaultTransferHosts.size()), ',');
  for (const std::string& host : hosts) {
    ASSIGN_OR_RETURN(Rule rule, ParseRule(host));
    if (std::find(defaults.begin(), defaults.end(), host) != defaults.end()) rule.exact = false;
    policy.rules_.push_back(std::move(rule));
  }
  return policy;
}

bool AddressPolicy::Matches(const Rule& rule, const UrlTarget& target) {
  if (rule.port != 0 && rule.port != target.port) return false;
  if (absl::StrContains(target.host, ":")) return rule.labels[0] == target.host;
  const std::vector<absl::string_view> labels = absl::StrSplit(target.host, '.');
  const bool open = rule.labels.front() == "*";
  if (open ? labels.size() < rule.labels.size() : labels.size() != rule.labels.size()) return false;
  for (size_t i = 0; i < rule.labels.size() - (open ? 1 : 0); ++i) {
    const std::string& wanted = rule.labels[rule.labels.size() - 1 - i];
    const absl::string_view label = labels[labels.size() - 1 - i];
    if (label.empty() || (wanted != "*" && wanted != label)) return false;
  }
  return true;
}

bool AddressPolicy::MayBePrivate(const UrlTarget& target) const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const Rule& rule) { return rule.exact && Matches(rule, target); });
}

absl::Status AddressPolicy::CheckTransfer(std::string_view url) const {
  ASSIGN_OR_RETURN(const UrlTarget target, ParseTarget(url));
  if (std::none_of(rules_.begin(), rules_.end(),
                   [&](const Rule& rule) { return Matches(rule, target); }))
    return Refused(target, "is not among --transfer_hosts");
  if (!target.secure && !MayBePrivate(target)) return Refused(target, "is not spoken to over TLS");
  return absl::OkStatus();
}

absl::Status AddressPolicy::CheckForeign(std::string_view url) const {
  ASSIGN_OR_RETURN(const UrlTarget target, ParseTarget(url));
  if (!LiteralIsPublic(target.host).value_or(true) && !MayBePrivate(target))
    return Refused(target, "is not a public address");
  return absl::OkStatus();
}

}  // namespace finetune
