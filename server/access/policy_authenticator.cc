#include "server/access/policy_authenticator.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"

namespace finetune {
namespace {

absl::Status Refusal(pb::ErrorReason::Reason reason, std::string_view why) {
  return Error(absl::StatusCode::kUnauthenticated, reason, why);
}

// The token after `Bearer`; nullopt if there is no authorization at all.
absl::StatusOr<std::optional<std::string_view>> BearerToken(
    const grpc::ServerContextBase& context) {
  const auto range = context.client_metadata().equal_range("authorization");
  if (range.first == range.second) return std::optional<std::string_view>();
  if (std::next(range.first) != range.second)
    return Refusal(pb::ErrorReason::CREDENTIALS_INVALID, "authorization is there more than once");
  absl::string_view text(range.first->second.data(), range.first->second.size());
  constexpr absl::string_view kScheme = "Bearer ";
  if (!absl::StartsWithIgnoreCase(text, kScheme))
    return Refusal(pb::ErrorReason::CREDENTIALS_INVALID,
                   "authorization must be 'Bearer' and a token");
  text = absl::StripAsciiWhitespace(text.substr(kScheme.size()));
  if (text.empty()) return Refusal(pb::ErrorReason::CREDENTIALS_INVALID, "the token is empty");
  return std::optional(std::string_view(text.data(), text.size()));
}

bool IsSpiffeUri(const grpc::string_ref& uri) {
  return absl::StartsWithIgnoreCase({uri.data(), uri.size()}, "spiffe:");
}

class PolicyAuthenticator : public Authenticator {
 public:
  explicit PolicyAuthenticator(const PolicyFile& policy) : policy_(policy) {}

  absl::StatusOr<Admission> Authenticate(const grpc::ServerContextBase& context,
                                         absl::Time now) override {
    const auto policy = policy_.current();
    auto token = BearerToken(context);
    if (!token.ok()) return token.status();
    if (token->has_value()) return policy->FindByToken(**token, now);
    return FindByCertificate(*policy, context);
  }

 private:
  static absl::StatusOr<Admission> FindByCertificate(const AccessPolicy& policy,
                                                     const grpc::ServerContextBase& context) {
    const auto auth = context.auth_context();
    if (auth == nullptr || !auth->IsPeerAuthenticated())
      return Refusal(pb::ErrorReason::CREDENTIALS_MISSING,
                     "send a token as 'authorization: Bearer TOKEN', or call with a client "
                     "certificate");
    // Of such a certificate gRPC does not tell the SPIFFE ID, so that other names would decide.
    const auto uris = auth->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME);
    if (uris.size() > 1 && std::any_of(uris.begin(), uris.end(), IsSpiffeUri))
      return Refusal(pb::ErrorReason::CREDENTIALS_INVALID,
                     "your client certificate has a SPIFFE ID and other URIs beside it: it must "
                     "have that one alone");
    std::vector<AccessPolicy::CallerPtr> known;
    for (const grpc::string_ref& id : auth->FindPropertyValues(GRPC_PEER_SPIFFE_ID_PROPERTY_NAME))
      known.push_back(policy.FindBySpiffeId({id.data(), id.size()}));
    for (const grpc::string_ref& name : auth->FindPropertyValues(GRPC_PEER_DNS_PROPERTY_NAME))
      known.push_back(policy.FindByDnsName(absl::AsciiStrToLower({name.data(), name.size()})));
    if (known.empty())
      return Refusal(pb::ErrorReason::CREDENTIALS_INVALID,
                     "your client certificate has neither a SPIFFE ID nor a DNS name; its common "
                     "name does not count");
    std::erase(known, nullptr);
    if (known.empty())
      return Refusal(pb::ErrorReason::CREDENTIALS_INVALID,
                     "the policy knows none of the names in your client certificate");
    // To choose one of the callers would be to guess whose jobs and money these are.
    if (std::any_of(known.begin(), known.end(), [&](const auto& one) { return one != known[0]; }))
      return Refusal(pb::ErrorReason::CREDENTIALS_INVALID,
                     "the names in your client certificate are those of several callers");
    return Admission{std::move(known[0])};
  }

  const PolicyFile& policy_;
};

}  // namespace

std::unique_ptr<Authenticator> MakePolicyAuthenticator(const PolicyFile& policy) {
  return std::make_unique<PolicyAuthenticator>(policy);
}

}  // namespace finetune
