#include "server/access/binding.h"

#include <arpa/inet.h>

#include <cstring>

#include "absl/strings/str_cat.h"

namespace finetune {

bool IsLoopback(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  std::string bare = host;
  if (bare.size() > 2 && bare.front() == '[' && bare.back() == ']')
    bare = bare.substr(1, bare.size() - 2);
  in6_addr v6;
  return inet_pton(AF_INET6, bare.c_str(), &v6) == 1 &&
         std::memcmp(&v6, &in6addr_loopback, sizeof(v6)) == 0;
}

absl::Status CheckBinding(const std::string& host, const TlsFiles& files, bool has_policy,
                          bool allow_insecure) {
  if (allow_insecure || IsLoopback(host) || (files.enabled() && has_policy))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--listen: without TLS (--tls_cert_file, --tls_key_file) and a policy (--policy_file) the "
      "service binds only to loopback, not to '",
      host, "'; --allow_insecure opens it to everyone who can reach the port"));
}

}  // namespace finetune
