#include "server/http/proxy.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace finetune {
namespace {

// The value of the first of these variables that is not empty.
std::string FirstOf(std::initializer_list<const char*> names, const Environment& environment) {
  for (const char* name : names) {
    const auto found = environment.find(name);
    if (found != environment.end() && !found->second.empty()) return found->second;
  }
  return "";
}

struct Address {
  int family = 0;
  std::array<unsigned char, 16> bytes = {};

  int bits() const { return family == AF_INET ? 32 : 128; }
};

std::optional<Address> AddressIn(const std::string& host) {
  Address address;
  for (int family : {AF_INET, AF_INET6}) {
    address.family = family;
    if (inet_pton(family, host.c_str(), address.bytes.data()) == 1) return address;
  }
  return std::nullopt;
}

bool InBlock(const Address& address, const Address& block, int bits) {
  if (address.family != block.family || bits < 0 || bits > block.bits()) return false;
  for (int i = 0; i < bits; ++i) {
    const int shift = 7 - i % 8;
    if (((address.bytes[i / 8] ^ block.bytes[i / 8]) >> shift & 1) != 0) return false;
  }
  return true;
}

// Splits `host:port`, where an IPv6 host has brackets or no port follows.
bool SplitPort(absl::string_view& host, int& port) {
  absl::string_view text;
  if (absl::ConsumePrefix(&host, "[")) {
    const size_t close = host.find(']');
    if (close == host.npos) return false;
    text = host.substr(close + 1);
    host = host.substr(0, close);
  } else if (std::count(host.begin(), host.end(), ':') == 1) {
    text = host.substr(host.find(':'));
    host = host.substr(0, host.find(':'));
  }
  return text.empty() || (absl::ConsumePrefix(&text, ":") && absl::SimpleAtoi(text, &port));
}

// Whether one entry of no_proxy means `url`.
bool Exempts(absl::string_view entry, const Url& url) {
  if (entry == "*") return true;
  const size_t slash = entry.find('/');
  const std::optional<Address> address = AddressIn(url.host());
  if (slash != entry.npos) {
    absl::string_view network = entry.substr(0, slash);
    if (absl::ConsumePrefix(&network, "[")) absl::ConsumeSuffix(&network, "]");
    const std::optional<Address> block = AddressIn(std::string(network));
    int bits = 0;
    return address && block && absl::SimpleAtoi(entry.substr(slash + 1), &bits) &&
           InBlock(*address, *block, bits);
  }
  int port = 0;
  if (!SplitPort(entry, port) || (port != 0 && port != url.port())) return false;
  if (address) {
    const std::optional<Address> same = AddressIn(std::string(entry));
    return same && InBlock(*address, *same, same->bits());
  }
  absl::ConsumePrefix(&entry, "*");
  absl::ConsumePrefix(&entry, ".");
  absl::ConsumeSuffix(&entry, ".");
  if (entry.empty()) return false;
  const std::string name = absl::AsciiStrToLower(entry);
  return url.host() == name || absl::EndsWith(url.host(), absl::StrCat(".", name));
}

bool IsThisHost(const Url& url) {
  if (url.host() == "localhost" || absl::EndsWith(url.host(), ".localhost")) return true;
  const std::optional<Address> address = AddressIn(url.host());
  if (!address) return false;
  return InBlock(*address, *AddressIn("127.0.0.0"), 8) || InBlock(*address, *AddressIn("::1"), 128);
}

}  // namespace

std::string ProxyFor(const Url& url, const Environment& environment) {
  std::string proxy = url.secure() ? FirstOf({"https_proxy", "HTTPS_PROXY"}, environment)
                                   : FirstOf({"http_proxy"}, environment);
  if (proxy.empty()) proxy = FirstOf({"all_proxy", "ALL_PROXY"}, environment);
  if (proxy.empty() || IsThisHost(url)) return "";
  const std::string direct = FirstOf({"no_proxy", "NO_PROXY"}, environment);
  const std::vector<std::string> entries =
      absl::StrSplit(direct, absl::ByAnyChar(", \t"), absl::SkipEmpty());
  const bool exempt = std::any_of(entries.begin(), entries.end(),
                                  [&](const std::string& entry) { return Exempts(entry, url); });
  return exempt ? "" : proxy;
}

Environment ProxyVariables() {
  Environment variables;
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                           "no_proxy", "NO_PROXY"})
    if (const char* value = std::getenv(name)) variables[name] = value;
  return variables;
}

}  // namespace finetune
