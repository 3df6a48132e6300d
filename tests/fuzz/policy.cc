#include "server/access/access_policy.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

void Fuzz(std::string_view input) {
  const auto file = [](const std::string&) -> absl::StatusOr<std::string> {
    return R"({"keys":[{"kty":"EC","crv":"P-256","kid":"k1",)"
           R"("x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
           R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})";
  };
  const auto remote = [](const KeyLocation&) { return std::shared_ptr<RemoteKeys>(); };
  static const auto* const refused_remote = new std::string("https:");
  // Keys that are fetched need a fetcher; what their locations may be is RemoteKeys' own matter.
  if (input.find("url") != input.npos || input.find(*refused_remote) != input.npos) return;
  const auto policy = AccessPolicy::Parse(std::string(input), "/folder", {file, remote}, nullptr);
  if (!policy.ok()) return CheckRefusal(policy.status());
  const absl::Time now = absl::FromUnixSeconds(1'735'689'600);
  CHECK(!(*policy)->FindByToken("no such token", now).ok());
  CHECK((*policy)->FindBySpiffeId("") == nullptr && (*policy)->FindByDnsName("") == nullptr);
  CHECK(AccessPolicy::Parse(std::string(input), "/folder", {file, remote}, policy->get()).ok());
}

}  // namespace finetune
