#include "server/startup_warnings.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

constexpr absl::Duration kExpiresSoon = absl::Hours(7 * 24);

bool EverybodyMayRead(const std::string& path) {
  struct stat facts;
  return !path.empty() && stat(path.c_str(), &facts) == 0 && (facts.st_mode & S_IROTH) != 0;
}

std::string Day(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

void LookAtCertificate(const std::string& path, const Validity& validity, absl::Time now,
                       std::vector<std::string>& found) {
  if (validity.end <= now)
    found.push_back(absl::StrCat("the certificate in '", path, "' expired on ", Day(validity.end),
                                 ": no client will connect until the file has a new one"));
  else if (validity.end <= now + kExpiresSoon)
    found.push_back(absl::StrCat("the certificate in '", path, "' expires on ", Day(validity.end),
                                 ": replace the file before then"));
  if (validity.begin > now)
    found.push_back(absl::StrCat("the certificate in '", path, "' is valid only from ",
                                 Day(validity.begin), " on: no client will connect until then"));
}

}  // namespace

std::vector<std::string> FindStartupWarnings(const Config& config, const Validity* certificate,
                                             const AccessPolicy* policy, absl::Time now) {
  std::vector<std::string> found;
  for (const std::string* path :
       {&config.tls.key, &config.api_key_file, &config.webhook_token_file}) {
    if (EverybodyMayRead(*path))
      found.push_back(absl::StrCat("everybody on this machine may read the secret in '", *path,
                                   "': chmod o-r it"));
  }
  if (certificate != nullptr) LookAtCertificate(config.tls.cert, *certificate, now, found);
  if (policy != nullptr && policy->knows_certificates() && !config.tls.mutual())
    found.push_back(
        "the policy has callers with spiffe_ids or dns_names, and none of these can be recognised, "
        "because without --tls_client_ca_file no client is asked for a certificate");
  return found;
}

}  // namespace finetune
