#include "server/base/url.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace finetune {
namespace {

absl::Status NoUrl() { return absl::InvalidArgumentError("it is no http or https URL"); }

}  // namespace

bool IsHostCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_';
}

absl::StatusOr<UrlTarget> ParseTarget(std::string_view url) {
  absl::string_view rest(url.data(), url.size());
  for (const unsigned char c : rest)
    if (c <= ' ' || c == 0x7f || c == '\\') return NoUrl();
  UrlTarget target;
  if (absl::StartsWithIgnoreCase(rest, "https://"))
    target.secure = true;
  else if (!absl::StartsWithIgnoreCase(rest, "http://"))
    return NoUrl();
  rest.remove_prefix(target.secure ? 8 : 7);
  absl::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (absl::StrContains(authority, "@"))
    return absl::InvalidArgumentError("it holds a user name or password");
  absl::string_view host = authority;
  absl::string_view port;
  if (absl::StartsWith(authority, "[")) {
    const size_t close = authority.find(']');
    if (close == authority.npos) return NoUrl();
    host = authority.substr(1, close - 1);
    port = authority.substr(close + 1);
    if (!port.empty() && !absl::ConsumePrefix(&port, ":")) return NoUrl();
    in6_addr ignored;
    if (inet_pton(AF_INET6, std::string(host).c_str(), &ignored) != 1) return NoUrl();
  } else {
    const size_t colon = authority.find(':');
    host = authority.substr(0, colon);
    if (colon != authority.npos) port = authority.substr(colon + 1);
    if (!std::all_of(host.begin(), host.end(), IsHostCharacter)) return NoUrl();
    absl::ConsumeSuffix(&host, ".");
  }
  target.port = target.secure ? 443 : 80;
  if (!port.empty() && (!absl::SimpleAtoi(port, &target.port) || !absl::ascii_isdigit(port[0])))
    return NoUrl();
  if (host.empty() || target.port < 1 || target.port > 65535) return NoUrl();
  target.host = absl::AsciiStrToLower(host);
  return target;
}

}  // namespace finetune
