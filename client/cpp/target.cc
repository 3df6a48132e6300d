#include "client/cpp/target.h"

#include <arpa/inet.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace finetune::inline client {
namespace {

constexpr const char* kSchemes[] = {"dns:///", "dns:", "ipv4:", "ipv6:", "passthrough:///"};

// An address of either family; the bytes of IPv4 are mapped into IPv6.
std::optional<std::array<unsigned char, 16>> Address(const std::string& text) {
  std::array<unsigned char, 16> bytes = {};
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  bytes = {};
  bytes[10] = bytes[11] = 0xff;
  if (inet_pton(AF_INET, text.c_str(), bytes.data() + 12) == 1) return bytes;
  return std::nullopt;
}

// Whether `host` lies in `network`, such as 10.0.0.0/8.
bool LiesIn(const std::string& host, const std::string& network) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(network, absl::MaxSplits('/', 1));
  const auto address = Address(host), base = Address(parts.first);
  int bits = 0;
  if (!address || !base || !absl::SimpleAtoi(parts.second, &bits)) return false;
  if (!absl::StrContains(parts.first, ':')) bits += 96;
  if (bits < 0 || bits > 128) return false;
  for (int bit = 0; bit < bits; ++bit) {
    const int mask = 0x80 >> (bit % 8);
    if (((*address)[bit / 8] & mask) != ((*base)[bit / 8] & mask)) return false;
  }
  return true;
}

// Whether one entry of a no_proxy list means `host`.
bool Means(absl::string_view entry, const std::string& host, const std::string& port) {
  entry = absl::StripAsciiWhitespace(entry);
  if (entry.empty()) return false;
  if (entry == "*") return true;
  if (absl::StrContains(entry, '/')) return LiesIn(host, std::string(entry));
  std::string name(entry);
  absl::ConsumeSuffix(&entry, absl::StrCat(":", port));
  if (!Address(name)) name = std::string(entry);
  if (absl::StartsWith(name, "[") && absl::EndsWith(name, "]"))
    name = name.substr(1, name.size() - 2);
  if (const auto address = Address(name)) return Address(host) == address;
  if (absl::StartsWith(name, "*")) name.erase(0, 1);
  const std::string bare = absl::StartsWith(name, ".") ? name.substr(1) : name;
  return absl::EqualsIgnoreCase(host, bare) ||
         (!bare.empty() && absl::EndsWithIgnoreCase(host, absl::StrCat(".", bare)));
}

const char* Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

std::string WithoutUser(const std::string& url) {
  const size_t scheme = url.find("://");
  const size_t begin = scheme == url.npos ? 0 : scheme + 3;
  const size_t at = url.find('@', begin);
  return at == url.npos ? url : url.substr(0, begin) + url.substr(at + 1);
}

// Whether the name is of a kind without a port, such as unix:/path or xds:///name.
bool HasNoPort(const std::string& target) {
  for (const char* scheme : {"unix:", "unix-abstract:", "vsock:"}) {
    if (absl::StartsWith(target, scheme)) return true;
  }
  return absl::StrContains(target, "://") && !absl::StartsWith(target, "dns:") &&
         !absl::StartsWith(target, "passthrough:");
}

}  // namespace

absl::Status CheckTarget(const std::string& target) {
  if (target.empty()) return absl::InvalidArgumentError("the server's address is empty");
  for (const char* scheme : {"http://", "https://"}) {
    if (absl::StartsWithIgnoreCase(target, scheme))
      return absl::InvalidArgumentError(
          absl::StrCat("the server's address is HOST:PORT, without ", scheme));
  }
  // gRPC would take the lower 16 bits of a port that is too large.
  const size_t colon = target.rfind(':');
  int64_t port = 1;
  if (colon != target.npos && absl::SimpleAtoi(target.substr(colon + 1), &port) &&
      (port < 1 || port > 65535))
    return absl::InvalidArgumentError(absl::StrCat("there is no port ", port));
  // Without a port, gRPC would choose one.
  const auto address = HostAndPortOf(target.substr(0, target.find(',')));
  const bool whole = address && !address->host.empty() && absl::SimpleAtoi(address->port, &port) &&
                     (!absl::StrContains(address->host, ':') || absl::StrContains(target, "]:"));
  if (!whole && !HasNoPort(target))
    return absl::InvalidArgumentError(
        absl::StrCat("the server's address is HOST:PORT, and ", target, " has no port"));
  return absl::OkStatus();
}

std::optional<HostAndPort> HostAndPortOf(const std::string& target) {
  absl::string_view rest = target;
  for (const char* scheme : kSchemes) {
    if (absl::ConsumePrefix(&rest, scheme)) break;
  }
  const size_t colon = rest.rfind(':');
  if (colon == rest.npos || absl::StartsWith(rest, "unix")) return std::nullopt;
  HostAndPort parsed{std::string(rest.substr(0, colon)), std::string(rest.substr(colon + 1))};
  if (absl::StartsWith(parsed.host, "[") && absl::EndsWith(parsed.host, "]"))
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  return parsed;
}

bool StaysOnThisMachine(const std::string& target) {
  if (absl::StartsWith(target, "unix")) return true;
  absl::string_view host = target;
  const auto parsed = HostAndPortOf(target);
  if (parsed) host = parsed->host;
  if (absl::EqualsIgnoreCase(host, "localhost") || host == "::1") return true;
  in_addr ignored;
  return absl::StartsWith(host, "127.") &&
         inet_pton(AF_INET, std::string(host).c_str(), &ignored) == 1;
}

std::optional<Proxy> ProxyFor(const std::string& target) {
  const auto parsed = HostAndPortOf(target);
  if (!parsed || StaysOnThisMachine(target)) return std::nullopt;
  for (const char* variable : {"no_grpc_proxy", "no_proxy", "NO_PROXY"}) {
    const char* list = Environment(variable);
    if (list == nullptr) continue;
    for (const absl::string_view entry : absl::StrSplit(list, ',')) {
      if (Means(entry, parsed->host, parsed->port)) return std::nullopt;
    }
  }
  for (const char* variable : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    if (const char* url = Environment(variable); url != nullptr)
      return Proxy{variable, WithoutUser(url)};
  }
  return std::nullopt;
}

}  // namespace finetune::inline client
