#include "server/access/access_policy.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/access/binding.h"
#include "server/access/caller_use.h"
#include "server/access/json_message.h"
#include "server/access/spending_policy.h"
#include "server/base/check.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/base/url.h"

namespace finetune {
namespace {

constexpr size_t kMaxName = 128;
constexpr absl::Duration kDefaultLeeway = absl::Seconds(30);
constexpr absl::Duration kMaxLeeway = absl::Minutes(5);

template <typename... Words>
absl::Status Bad(const Words&... words) {
  return absl::InvalidArgumentError(absl::StrCat(words...));
}

absl::Status Invalid(absl::string_view why) {
  return Error(absl::StatusCode::kUnauthenticated, pb::ErrorReason::CREDENTIALS_INVALID,
               std::string_view(why.data(), why.size()));
}

absl::Status KeysMissing(absl::string_view why) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::ISSUER_KEYS_UNAVAILABLE,
               std::string_view(why.data(), why.size()))
      .RetryAfter(absl::Seconds(1));
}

// SHA-256. OpenSSL takes longer to look the algorithm up than to run it, so it is looked up once.
std::string Digest(std::string_view token) {
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  CHECK(sha256 != nullptr);
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  CHECK(EVP_Digest(token.data(), token.size(), reinterpret_cast<unsigned char*>(digest.data()),
                   nullptr, sha256, nullptr) == 1);
  return digest;
}

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  absl::StrContains("-_.:/@", absl::string_view(&c, 1));
         });
}

// The digest as bytes; empty if `hex` is not 64 hexadecimal digits.
std::string ReadSha256(const std::string& hex) {
  const bool good = hex.size() == size_t{2} * SHA256_DIGEST_LENGTH &&
                    std::all_of(hex.begin(), hex.end(), [](char c) {
                      return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                    });
  return good ? absl::HexStringToBytes(hex) : "";
}

absl::Status CheckLimits(const policy::Limits& limits) {
  if (limits.creates_per_day() < 0 || limits.active_jobs() < 0 || limits.watchers() < 0 ||
      limits.transfers() < 0)
    return Bad("limits must not be negative");
  const double rate = limits.calls_per_second();
  if (!std::isfinite(rate) || rate < 0) return Bad("calls_per_second must not be negative");
  return absl::OkStatus();
}

CallerLimits ToLimits(const policy::Limits& limits) {
  CallerLimits made;
  if (limits.has_creates_per_day()) made.creates_per_day = limits.creates_per_day();
  if (limits.has_active_jobs()) made.active_jobs = limits.active_jobs();
  if (limits.has_calls_per_second()) made.calls_per_second = limits.calls_per_second();
  if (limits.has_watchers()) made.watchers = limits.watchers();
  if (limits.has_transfers()) made.transfers = limits.transfers();
  return made;
}

absl::StatusOr<policy::Policy> ReadJson(const std::string& json) {
  policy::Policy read;
  const absl::Status status = ReadJsonMessage(json, read);
  if (status.ok()) return read;
  return Bad(
      "is no policy: ",
      absl::StrReplaceAll(status.message(),
                          {{"Cannot find field.", "there is no such field"},
                           {" for type type.googleapis.com/segmind.finetune.v1.CallerIdentity.Role",
                            "; it must be VIEWER, SUBMITTER or ADMIN"},
                           {" for type type.googleapis.com/finetune.policy.Budget.Period",
                            "; it must be DAY, WEEK, MONTH or AT_ONCE"}}));
}

// Absolute paths and empty ones stay as they are.
std::string PathIn(const std::string& folder, const std::string& path) {
  return path.empty() || path.front() == '/' ? path : absl::StrCat(folder, "/", path);
}

absl::Status CheckKeyUrl(const std::string& url) {
  const auto target = Url::Parse(url);
  if (!target.ok()) return Bad("jwks_url ", target.status().message());
  if (absl::StrContains(url, "#")) return Bad("jwks_url must not have a fragment");
  if (!target->secure() && !IsLoopback(target->host()))
    return Bad("jwks_url must be https, or whoever is on the way could put in keys");
  return absl::OkStatus();
}

// Fills in `issuer.keys` as far as the keys are there.
absl::Status FindKeys(const policy::JwtIssuer& entry, const std::string& folder,
                      const AccessPolicy::KeySources& sources, JwtIssuer& issuer,
                      std::vector<std::string>& warnings) {
  if (entry.jwks_file().empty() == entry.jwks_url().empty())
    return Bad("needs a jwks_file or a jwks_url, and not both");
  std::optional<std::string> text;
  std::string from = entry.jwks_url();
  if (from.empty()) {
    if (!entry.jwks_ca_file().empty() || !entry.jwks_token_file().empty())
      return Bad("jwks_ca_file and jwks_token_file go with a jwks_url");
    from = PathIn(folder, entry.jwks_file());
    ASSIGN_OR_RETURN(text, sources.file(from));
  } else {
    RETURN_IF_ERROR(CheckKeyUrl(entry.jwks_url()));
    const auto remote = sources.remote({entry.jwks_url(), PathIn(folder, entry.jwks_ca_file()),
                                        PathIn(folder, entry.jwks_token_file())});
    text = remote->text();
    issuer.look_again = [remote] { return remote->LookAgain(); };
  }
  if (!text) return absl::OkStatus();
  auto keys = KeySet::Parse(*text);
  if (!keys.ok()) return Bad("'", from, "' ", keys.status().message());
  for (const std::string& skipped : keys->skipped())
    warnings.push_back(
        absl::StrCat("the key set '", from, "' of the issuer ", entry.issuer(), ": ", skipped));
  issuer.keys = *std::move(keys);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AccessPolicy>> AccessPolicy::Parse(
    const std::string& json, const std::string& folder, const KeySources& sources,
    const AccessPolicy* previous) {
  ASSIGN_OR_RETURN(const policy::Policy proto, ReadJson(json));
  auto made = std::make_shared<AccessPolicy>();
  RETURN_IF_ERROR(made->AddIssuers(proto, folder, sources));
  if (proto.callers().empty()) return Bad("names no callers, so nobody could call");
  ASSIGN_OR_RETURN(const auto rules, ReadSpendingRules(proto));
  for (int i = 0; i < proto.callers_size(); ++i) {
    const absl::Status added = made->AddCaller(proto.callers(i), rules, previous);
    if (added.ok()) continue;
    const std::string& name = proto.callers(i).name();
    return Bad("callers[", i, "]", IsName(name) ? absl::StrCat(" '", name, "'") : "", ": ",
               added.message());
  }
  return made;
}

absl::Status AccessPolicy::AddIssuers(const policy::Policy& policy, const std::string& folder,
                                      const KeySources& sources) {
  for (int i = 0; i < policy.jwt_issuers_size(); ++i) {
    const policy::JwtIssuer& entry = policy.jwt_issuers(i);
    const std::string where = absl::StrCat("jwt_issuers[", i, "]: ");
    if (entry.issuer().empty()) return Bad(where, "needs an issuer");
    if (KnowsIssuer(entry.issuer())) return Bad(where, "the issuer is there twice");
    if (entry.audiences().empty() || std::find(entry.audiences().begin(), entry.audiences().end(),
                                               "") != entry.audiences().end())
      return Bad(where, "needs an audience, or tokens for others would do");
    const absl::Duration leeway = entry.has_leeway() ? FromProto(entry.leeway()) : kDefaultLeeway;
    if (leeway < absl::ZeroDuration() || leeway > kMaxLeeway)
      return Bad(where, "leeway must be 0s to ", absl::FormatDuration(kMaxLeeway));
    JwtIssuer issuer{
        entry.issuer(), {entry.audiences().begin(), entry.audiences().end()}, {}, leeway};
    const absl::Status found = FindKeys(entry, folder, sources, issuer, warnings_);
    if (!found.ok()) return Bad(where, found.message());
    issuers_.push_back(std::move(issuer));
  }
  return absl::OkStatus();
}

absl::Status AccessPolicy::AddCaller(const policy::Caller& entry,
                                     const std::shared_ptr<const SpendingRules>& rules,
                                     const AccessPolicy* previous) {
  if (!IsName(entry.name())) return Bad("name must be 1 to 128 letters, digits and -_.:/@");
  if (by_name_.contains(entry.name())) return Bad("the name is there twice");
  if (entry.role() == pb::CallerIdentity::ROLE_UNSPECIFIED)
    return Bad("role must be VIEWER, SUBMITTER or ADMIN");
  RETURN_IF_ERROR(CheckLimits(entry.limits()));
  auto caller = std::make_shared<Caller>();
  caller->identity = entry.name();
  caller->role = static_cast<Role>(entry.role());
  caller->sees_all = entry.sees_all_jobs();
  caller->limits = ToLimits(entry.limits());
  ASSIGN_OR_RETURN(caller->spender, ReadSpender(entry, rules));
  const CallerPtr before = previous == nullptr ? nullptr : Find(previous->by_name_, entry.name());
  caller->use =
      before == nullptr ? std::make_shared<CallerUse>(entry.name(), entry.name()) : before->use;
  by_name_[entry.name()] = caller;
  if (entry.bearer_token_sha256().empty() && entry.spiffe_ids().empty() &&
      entry.dns_names().empty() && entry.jwts().empty())
    return Bad("needs a way to be recognised: bearer_token_sha256, spiffe_ids, dns_names or jwts");
  RETURN_IF_ERROR(AddKeys(entry, caller));
  return AddJwts(entry, caller);
}

absl::Status AccessPolicy::AddKeys(const policy::Caller& entry, const CallerPtr& caller) {
  for (const std::string& hex : entry.bearer_token_sha256()) {
    const std::string digest = ReadSha256(hex);
    if (digest.empty())
      return Bad("bearer_token_sha256 must be 64 hexadecimal digits, not a token itself");
    if (digest == Digest("") || digest == Digest("\n"))
      return Bad("a bearer_token_sha256 is the hash of an empty token");
    if (!by_token_.emplace(digest, caller).second)
      return Bad("a bearer_token_sha256 is there twice");
  }
  for (const std::string& id : entry.spiffe_ids()) {
    if (!absl::StartsWith(id, "spiffe://") || id.size() < 12)
      return Bad("spiffe_ids must be spiffe://TRUST-DOMAIN/PATH");
    if (!by_spiffe_id_.emplace(id, caller).second) return Bad("a SPIFFE id is there twice");
  }
  for (const std::string& name : entry.dns_names()) {
    if (name.empty() || absl::StrContains(name, "*"))
      return Bad("dns_names must be whole names, without wildcards");
    if (!by_dns_name_.emplace(absl::AsciiStrToLower(name), caller).second)
      return Bad("a DNS name is there twice");
  }
  return absl::OkStatus();
}

absl::Status AccessPolicy::AddJwts(const policy::Caller& entry, const CallerPtr& caller) {
  for (const policy::JwtMatch& match : entry.jwts()) {
    if (!KnowsIssuer(match.issuer())) return Bad("jwts: the issuer is not among jwt_issuers");
    if (match.subject().empty() && match.claims().empty())
      return Bad("jwts: needs a subject or claims, or all of the issuer's tokens would do");
    JwtRule rule{match.issuer(), match.subject(), {}, caller};
    rule.claims.assign(match.claims().begin(), match.claims().end());
    std::sort(rule.claims.begin(), rule.claims.end());
    for (const auto& [name, value] : rule.claims)
      if (name.empty() || value.empty())
        return Bad("jwts: a claim without a name or a value would fit nothing");
    for (const JwtRule& other : jwt_rules_)
      if (rule.issuer == other.issuer && rule.subject == other.subject &&
          rule.claims == other.claims)
        return Bad("jwts: the same issuer, subject and claims are there twice");
    jwt_rules_.push_back(std::move(rule));
  }
  return absl::OkStatus();
}

bool AccessPolicy::KnowsIssuer(const std::string& issuer) const {
  return std::any_of(issuers_.begin(), issuers_.end(),
                     [&](const JwtIssuer& known) { return known.issuer == issuer; });
}

std::vector<std::string> AccessPolicy::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, caller] : by_name_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::shared_ptr<const Spender>> AccessPolicy::Spenders() const {
  std::vector<std::shared_ptr<const Spender>> spenders;
  for (const auto& [name, caller] : by_name_)
    if (caller->spender != nullptr) spenders.push_back(caller->spender);
  return spenders;
}

AccessPolicy::CallerPtr AccessPolicy::Find(const Index& index, std::string_view key) {
  const auto found = index.find(absl::string_view(key.data(), key.size()));
  return found == index.end() ? nullptr : found->second;
}

AccessPolicy::CallerPtr AccessPolicy::FindByClaims(const JwtClaims& claims) const {
  for (const JwtRule& rule : jwt_rules_) {
    const bool fits = rule.issuer == claims.issuer->issuer &&
                      (rule.subject.empty() || rule.subject == claims.subject) &&
                      std::all_of(rule.claims.begin(), rule.claims.end(), [&](const auto& claim) {
                        return HasClaim(claims.all, claim.first, claim.second);
                      });
    if (fits) return rule.caller;
  }
  return nullptr;
}

absl::StatusOr<Admission> AccessPolicy::FindByToken(std::string_view token, absl::Time now) const {
  if (auto known = known_.Find(token, now)) return *std::move(known);
  return VerifyToken(token, now);
}

absl::StatusOr<Admission> AccessPolicy::VerifyToken(std::string_view token, absl::Time now) const {
  if (CallerPtr caller = Find(by_token_, Digest(token))) {
    const Admission admission{std::move(caller)};
    known_.Add(token, admission, absl::InfinitePast(), now);
    return admission;
  }
  if (!LooksLikeJwt(token) || issuers_.empty()) return Invalid("the token is not known here");
  auto claims = VerifyJwt(token, issuers_, now);
  if (absl::IsUnavailable(claims.status())) return KeysMissing(claims.status().message());
  if (!claims.ok()) return Invalid(claims.status().message());
  CallerPtr caller = FindByClaims(*claims);
  if (caller == nullptr)
    return Invalid("the token is valid, and the policy does not know its bearer");
  const Admission admission{std::move(caller), claims->good_until};
  known_.Add(token, admission, claims->not_before, now);
  return admission;
}

}  // namespace finetune
