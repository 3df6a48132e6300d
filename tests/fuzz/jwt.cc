#include "server/access/jwt.h"

#include "tests/access/jwt_signer.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {
namespace {

const JwtSigner& Signer() {
  static const auto* const signer = new JwtSigner(JwtSigner::Ec());
  return *signer;
}

const std::vector<JwtIssuer>& Issuers() {
  static const auto* const issuers = [] {
    auto* list = new std::vector<JwtIssuer>;
    list->push_back({.issuer = "https://issuer.example",
                     .audiences = {"finetune"},
                     .keys = *KeySet::Parse(Signer().KeySetJson()),
                     .leeway = absl::Seconds(30)});
    return list;
  }();
  return *issuers;
}

}  // namespace

// The first byte says what the rest is: a whole token, or what a good key signs: claims, or a
// header.
void Fuzz(std::string_view input) {
  if (input.empty()) return;
  const int what = static_cast<unsigned char>(input[0]) % 3;
  const std::string rest(input.substr(1));
  constexpr char kClaims[] =
      R"({"iss":"https://issuer.example","aud":"finetune","exp":1735689700,"sub":"x"})";
  const std::string token = what == 0   ? rest
                            : what == 1 ? Signer().Sign(rest)
                                        : Signer().SignWithHeader(rest, kClaims);
  const absl::Time now = absl::FromUnixSeconds(1'735'689'600);
  LooksLikeJwt(token);
  const absl::StatusOr<JwtClaims> claims = VerifyJwt(token, Issuers(), now);
  if (!claims.ok()) {
    CheckRefusal(claims.status());
    return;
  }
  CHECK(what != 0);  // Nobody guesses a signature.
  CHECK(claims->issuer == Issuers().data());
  CHECK(claims->good_until > now && claims->not_before <= now);
  CHECK(HasClaim(claims->all, "aud", "finetune"));
}

}  // namespace finetune
