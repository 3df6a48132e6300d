#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/caller.h"
#include "server/access/jwt.h"
#include "server/access/known_tokens.h"
#include "server/access/policy.pb.h"
#include "server/access/remote_keys.h"

namespace finetune {

// A policy (policy.proto), checked and ready to be asked. Immutable except for the tokens that it
// remembers; thread-safe.
class AccessPolicy {
 public:
  using CallerPtr = std::shared_ptr<const Caller>;
  // Where key sets come from: files, and locations that are fetched from.
  struct KeySources {
    absl::FunctionRef<absl::StatusOr<std::string>(const std::string& path)> file;
    absl::FunctionRef<std::shared_ptr<RemoteKeys>(const KeyLocation& location)> remote;
  };

  // Relative paths start at `folder`. Callers that `previous` (which may be null) also has keep
  // what they are using. INVALID_ARGUMENT, in one sentence that says where it is wrong and quotes
  // no token.
  static absl::StatusOr<std::shared_ptr<const AccessPolicy>> Parse(const std::string& json,
                                                                   const std::string& folder,
                                                                   const KeySources& sources,
                                                                   const AccessPolicy* previous);

  // Whose bearer token this is. UNAUTHENTICATED / CREDENTIALS_INVALID if it is nobody's,
  // UNAVAILABLE / ISSUER_KEYS_UNAVAILABLE if that cannot be decided yet.
  absl::StatusOr<Admission> FindByToken(std::string_view token, absl::Time now) const;
  // Null if there is no such caller.
  CallerPtr FindBySpiffeId(std::string_view id) const { return Find(by_spiffe_id_, id); }
  CallerPtr FindByDnsName(std::string_view name) const { return Find(by_dns_name_, name); }

  // Whether any caller can be recognised by a client certificate.
  bool knows_certificates() const { return !by_spiffe_id_.empty() || !by_dns_name_.empty(); }

  size_t size() const { return by_name_.size(); }
  // The names of its callers, in order.
  std::vector<std::string> Names() const;
  // The callers whose jobs have prices, budgets or rules for labels; none is null.
  std::vector<std::shared_ptr<const Spender>> Spenders() const;
  // What of it was ignored, each in a sentence for the log.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  using Index = absl::flat_hash_map<std::string, CallerPtr>;
  struct JwtRule {
    std::string issuer;
    std::string subject;
    std::vector<std::pair<std::string, std::string>> claims;
    CallerPtr caller;
  };

  static CallerPtr Find(const Index& index, std::string_view key);
  absl::Status AddIssuers(const policy::Policy& policy, const std::string& folder,
                          const KeySources& sources);
  absl::Status AddCaller(const policy::Caller& entry,
                         const std::shared_ptr<const SpendingRules>& rules,
                         const AccessPolicy* previous);
  absl::Status AddKeys(const policy::Caller& entry, const CallerPtr& caller);
  absl::Status AddJwts(const policy::Caller& entry, const CallerPtr& caller);
  bool KnowsIssuer(const std::string& issuer) const;
  // FindByToken for a token that is not known yet.
  absl::StatusOr<Admission> VerifyToken(std::string_view token, absl::Time now) const;
  CallerPtr FindByClaims(const JwtClaims& claims) const;

  // Constant after Parse.
  Index by_name_;
  Index by_token_;  // By SHA-256, 32 bytes.
  Index by_spiffe_id_;
  Index by_dns_name_;
  std::vector<JwtIssuer> issuers_;
  std::vector<JwtRule> jwt_rules_;
  std::vector<std::string> warnings_;

  mutable KnownTokens known_;
};

}  // namespace finetune
