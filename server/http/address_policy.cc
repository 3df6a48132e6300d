#include "server/http/address_policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

struct Block4 {
  uint32_t first;
  int bits;
};
// From IANA's special-purpose registry: blocks that are not globally reachable, and multicast.
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
  // Only 2000::/3 is allocated. Mapped, compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique
  // local, link-local and multicast addresses all lie outside of it.
  if (bytes[0] >> 5 != 1) return false;
  const uint32_t first =
      static_cast<uint32_t>(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
  if (first == 0x20010db8) return false;             // Documentation.
  if (first >> 9 == 0x20010000u >> 9) return false;  // Teredo and its neighbours.
  if (first >> 16 == 0x2002) return false;           // 6to4 carries IPv4 addresses.
  if (first >> 12 == 0x3fff0) return false;          // Documentation.
  return true;
}

// An IPv6 address is one label.
std::vector<std::string> LabelsOf(const std::string& host) {
  if (absl::StrContains(host, ":")) return {host};
  return absl::StrSplit(host, '.');
}

absl::Status Refused(const Url& url, absl::string_view why) {
  return absl::PermissionDeniedError(
      absl::StrCat("the host '", ValidUtf8(url.host(), 100), "' ", why));
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

bool IsPrivateByName(const std::string& host) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1)
    return !IsPublicAddress(reinterpret_cast<sockaddr*>(&v4));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1)
    return !IsPublicAddress(reinterpret_cast<sockaddr*>(&v6));
  return host == "localhost" || absl::EndsWith(host, ".localhost");
}

absl::StatusOr<AddressPolicy::Rule> AddressPolicy::ParseRule(const std::string& text) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("'", ValidUtf8(text, 200),
                     "' is no host such as storage.googleapis.com, *.segmind.com or storage:9000"));
  };
  // It must be a host as in a URL, apart from the stars.
  if (text.find_first_of("/?#") != text.npos) return bad();
  const auto url = Url::Parse(absl::StrCat("https://", absl::StrReplaceAll(text, {{"*", "x"}})));
  if (!url.ok() || !url->path_and_query().empty() || url->text().back() == ':') return bad();
  Rule rule{.labels = LabelsOf(url->host())};
  const absl::string_view name = absl::string_view(text).substr(0, text.rfind(':'));
  const bool has_port = text.back() != ']' && absl::StrContains(text, ":");
  if (has_port) rule.port = url->port();
  if (!absl::StrContains(text, "*")) return rule;
  rule.exact = false;
  rule.labels = absl::StrSplit(absl::AsciiStrToLower(has_port ? name : text), '.');
  for (const std::string& label : rule.labels)
    if (label != "*" && (label.empty() || absl::StrContains(label, "*"))) return bad();
  // A rule for every host would be no policy.
  if (rule.labels.back() == "*") return bad();
  return rule;
}

absl::StatusOr<AddressPolicy> AddressPolicy::Create(const std::vector<std::string>& hosts,
                                                    const std::string& upstream_url) {
  AddressPolicy policy;
  ASSIGN_OR_RETURN(const Url upstream, Url::Parse(upstream_url));
  policy.rules_.push_back({.labels = LabelsOf(upstream.host()), .port = upstream.port()});
  const std::vector<std::string> defaults = absl::StrSplit(
      absl::string_view(kDefaultTransferHosts.data(), kDefaultTransferHosts.size()), ',');
  for (const std::string& host : hosts) {
    ASSIGN_OR_RETURN(Rule rule, ParseRule(host));
    if (std::find(defaults.begin(), defaults.end(), host) != defaults.end()) rule.exact = false;
    policy.rules_.push_back(std::move(rule));
  }
  return policy;
}

bool AddressPolicy::Matches(const Rule& rule, const Url& url) {
  if (rule.port != 0 && rule.port != url.port()) return false;
  const std::vector<std::string> labels = LabelsOf(url.host());
  const bool open = rule.labels.front() == "*";
  if (open ? labels.size() < rule.labels.size() : labels.size() != rule.labels.size()) return false;
  for (size_t i = 0; i < rule.labels.size() - (open ? 1 : 0); ++i) {
    const std::string& wanted = rule.labels[rule.labels.size() - 1 - i];
    const std::string& label = labels[labels.size() - 1 - i];
    if (label.empty() || (wanted != "*" && wanted != label)) return false;
  }
  return true;
}

bool AddressPolicy::MayBePrivate(const Url& url) const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const Rule& rule) { return rule.exact && Matches(rule, url); });
}

absl::Status AddressPolicy::CheckTransfer(const Url& url) const {
  if (std::none_of(rules_.begin(), rules_.end(),
                   [&](const Rule& rule) { return Matches(rule, url); }))
    return Refused(url, "is not among --transfer_hosts");
  if (!url.secure() && !MayBePrivate(url)) return Refused(url, "is not spoken to over TLS");
  return absl::OkStatus();
}

absl::Status AddressPolicy::CheckForeign(const Url& url) const {
  if (IsPrivateByName(url.host()) && !MayBePrivate(url))
    return Refused(url, "is not a public address");
  return absl::OkStatus();
}

}  // namespace finetune
