#include "server/access/jwt.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/access/json_message.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

// Seconds since 1970 up to the year 9999.
constexpr double kLatestTime = 253402300799.0;

absl::Status Refused(absl::string_view why) { return absl::InvalidArgumentError(why); }

struct TokenPieces {
  std::string_view header;
  std::string_view payload;
  std::string_view signature;
  std::string_view signed_text;
};

std::optional<TokenPieces> Split(std::string_view token) {
  const size_t first = token.find('.');
  if (first == token.npos) return std::nullopt;
  const size_t second = token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return std::nullopt;
  return TokenPieces{token.substr(0, first), token.substr(first + 1, second - first - 1),
                     token.substr(second + 1), token.substr(0, second)};
}

const Value* Find(const Struct& object, const std::string& name) {
  const auto found = object.fields().find(name);
  return found == object.fields().end() ? nullptr : &found->second;
}

// Whether `text` is the number. Whole numbers only, as far as a double holds them exactly.
bool SaysNumber(double number, std::string_view text) {
  constexpr int64_t kLargest = int64_t{1} << 53;
  int64_t whole = 0;
  return absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &whole) &&
         whole > -kLargest && whole < kLargest && number == static_cast<double>(whole);
}

// Whether a claim is the policy's `text`, or a list that contains it. With `words`, also whether it
// is one of the words of a text.
bool Says(const Value& claim, std::string_view text, bool words) {
  switch (claim.kind_case()) {
    case Value::kStringValue: {
      if (claim.string_value() == text) return true;
      if (!words) return false;
      const std::vector<std::string> all = absl::StrSplit(claim.string_value(), ' ');
      return std::find(all.begin(), all.end(), text) != all.end();
    }
    case Value::kBoolValue:
      return text == (claim.bool_value() ? "true" : "false");
    case Value::kNumberValue:
      return SaysNumber(claim.number_value(), text);
    case Value::kListValue: {
      const auto& values = claim.list_value().values();
      return std::any_of(values.begin(), values.end(), [&](const Value& one) {
        return !one.has_list_value() && Says(one, text, /*words=*/false);
      });
    }
    default:
      return false;
  }
}

// Whether the token is for `audience`: its `aud` is that text, or a list that contains it.
bool IsFor(const Struct& claims, const std::string& audience) {
  const Value* claim = Find(claims, "aud");
  if (claim == nullptr) return false;
  if (claim->has_string_value()) return claim->string_value() == audience;
  const auto& values = claim->list_value().values();
  return std::any_of(values.begin(), values.end(), [&](const Value& one) {
    return one.has_string_value() && one.string_value() == audience;
  });
}

bool ReadObject(std::string_view part, Struct& object) {
  std::string json;
  return DecodeBase64Url(part, json) && ReadJsonObject(json, object);
}

std::string Text(const Struct& object, const std::string& name) {
  const Value* value = Find(object, name);
  return value == nullptr ? "" : value->string_value();
}

absl::StatusOr<JwtAlgorithm> AlgorithmOf(const Struct& header) {
  if (Find(header, "crit") != nullptr) return Refused("the token asks for extensions");
  const std::string name = Text(header, "alg");
  if (name == "RS256") return JwtAlgorithm::kRs256;
  if (name == "ES256") return JwtAlgorithm::kEs256;
  return Refused("the token's algorithm is not RS256 or ES256");
}

absl::Status CheckKeyIsHere(const JwtIssuer& issuer, const std::string& kid) {
  if (!issuer.keys.empty() && (kid.empty() || issuer.keys.Has(kid))) return absl::OkStatus();
  const bool on_the_way = issuer.look_again != nullptr && issuer.look_again();
  if (on_the_way || issuer.keys.empty())
    return absl::UnavailableError("the keys of the token's issuer are being fetched");
  return Refused("the token's signature is not its issuer's: no key has its kid");
}

// Nullopt if the claim is missing or no time.
std::optional<absl::Time> TimeOf(const Struct& claims, const std::string& name) {
  const Value* value = Find(claims, name);
  if (value == nullptr || !value->has_number_value()) return std::nullopt;
  const double seconds = value->number_value();
  if (!(seconds >= 0 && seconds <= kLatestTime)) return std::nullopt;
  return absl::FromUnixSeconds(static_cast<int64_t>(std::floor(seconds)));
}

absl::Status CheckTimes(absl::Time now, JwtClaims& claims) {
  const auto expires = TimeOf(claims.all, "exp");
  if (!expires) return Refused("the token does not say when it expires");
  claims.good_until = *expires + claims.issuer->leeway;
  if (now >= claims.good_until) return Refused("the token has expired");
  claims.not_before = absl::InfinitePast();
  if (Find(claims.all, "nbf") == nullptr) return absl::OkStatus();
  const auto begins = TimeOf(claims.all, "nbf");
  if (!begins) return Refused("the token does not say from when it is valid");
  claims.not_before = *begins - claims.issuer->leeway;
  if (now < claims.not_before) return Refused("the token is not valid yet");
  return absl::OkStatus();
}

}  // namespace

bool LooksLikeJwt(std::string_view token) { return Split(token).has_value(); }

bool HasClaim(const Struct& claims, const std::string& name, std::string_view value) {
  // The name of a claim may itself have dots: some are URLs.
  if (const Value* claim = Find(claims, name))
    return Says(*claim, value, /*words=*/name == "scope" || name == "scp");
  const size_t dot = name.find('.');
  if (dot == name.npos) return false;
  // The longest prefix that names a claim: the names of inner claims may have dots, too.
  for (size_t end = name.rfind('.'); end != name.npos && end > 0; end = name.rfind('.', end - 1)) {
    const Value* outer = Find(claims, name.substr(0, end));
    if (outer != nullptr && outer->has_struct_value())
      return HasClaim(outer->struct_value(), name.substr(end + 1), value);
  }
  return false;
}

absl::StatusOr<JwtClaims> VerifyJwt(std::string_view token, const std::vector<JwtIssuer>& issuers,
                                    absl::Time now) {
  const auto parts = Split(token);
  Struct header;
  JwtClaims claims;
  std::string signature;
  if (!parts || !ReadObject(parts->header, header) || !ReadObject(parts->payload, claims.all) ||
      !DecodeBase64Url(parts->signature, signature))
    return Refused("the token is no JWT");
  ASSIGN_OR_RETURN(const JwtAlgorithm algorithm, AlgorithmOf(header));
  const std::string issuer = Text(claims.all, "iss");
  for (const JwtIssuer& known : issuers)
    if (known.issuer == issuer) claims.issuer = &known;
  if (claims.issuer == nullptr) return Refused("the token's issuer is not known here");
  RETURN_IF_ERROR(CheckKeyIsHere(*claims.issuer, Text(header, "kid")));
  if (!claims.issuer->keys.Verify(algorithm, Text(header, "kid"), parts->signed_text, signature))
    return Refused("the token's signature is not its issuer's");
  RETURN_IF_ERROR(CheckTimes(now, claims));
  const auto& audiences = claims.issuer->audiences;
  if (!std::any_of(audiences.begin(), audiences.end(),
                   [&](const std::string& one) { return IsFor(claims.all, one); }))
    return Refused("the token is for another audience");
  claims.subject = Text(claims.all, "sub");
  return claims;
}

}  // namespace finetune
