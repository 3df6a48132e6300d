#include "server/access/key_set.h"

#include <google/protobuf/struct.pb.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/access/json_message.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

using google::protobuf::Struct;
using BnPtr = std::unique_ptr<BIGNUM, decltype(&BN_free)>;

constexpr size_t kCoordinateBytes = 32;
constexpr int kLeastRsaBits = 2048;
constexpr int kMostRsaBits = 8192;
// A token without a `kid` is tried with every key.
constexpr size_t kMostKeys = 100;

// Empty if the member is missing or no text.
std::string Text(const Struct& key, const char* name) {
  const auto found = key.fields().find(name);
  return found == key.fields().end() ? "" : found->second.string_value();
}

BnPtr Number(std::string_view bytes) {
  return BnPtr(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                         static_cast<int>(bytes.size()), nullptr),
               BN_free);
}

EVP_PKEY* MakeKey(const char* type, OSSL_PARAM_BLD* build) {
  const std::unique_ptr<OSSL_PARAM, decltype(&OSSL_PARAM_free)> params(
      OSSL_PARAM_BLD_to_param(build), OSSL_PARAM_free);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr), EVP_PKEY_CTX_free);
  EVP_PKEY* key = nullptr;
  if (params && context && EVP_PKEY_fromdata_init(context.get()) == 1)
    EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get());
  ERR_clear_error();
  return key;
}

using BuildPtr = std::unique_ptr<OSSL_PARAM_BLD, decltype(&OSSL_PARAM_BLD_free)>;

absl::StatusOr<EVP_PKEY*> RsaKey(const Struct& jwk) {
  std::string n, e;
  if (!DecodeBase64Url(Text(jwk, "n"), n) || !DecodeBase64Url(Text(jwk, "e"), e) || n.empty() ||
      e.empty())
    return absl::InvalidArgumentError("'n' and 'e' must be base64url");
  const BnPtr modulus = Number(n), exponent = Number(e);
  const int bits = BN_num_bits(modulus.get());
  if (bits < kLeastRsaBits || bits > kMostRsaBits)
    return absl::InvalidArgumentError(
        absl::StrCat("an RSA key must have ", kLeastRsaBits, " to ", kMostRsaBits, " bits"));
  if (BN_num_bits(exponent.get()) > 64 || !BN_is_odd(exponent.get()) || BN_is_one(exponent.get()))
    return absl::InvalidArgumentError("'e' is no exponent of an RSA key");
  const BuildPtr build(OSSL_PARAM_BLD_new(), OSSL_PARAM_BLD_free);
  OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
  OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
  return MakeKey("RSA", build.get());
}

absl::StatusOr<EVP_PKEY*> EcKey(const Struct& jwk) {
  std::string x, y;
  if (!DecodeBase64Url(Text(jwk, "x"), x) || !DecodeBase64Url(Text(jwk, "y"), y) ||
      x.size() != kCoordinateBytes || y.size() != kCoordinateBytes)
    return absl::InvalidArgumentError("'x' and 'y' must be 32 bytes in base64url");
  const std::string point = "\x04" + x + y;
  const BuildPtr build(OSSL_PARAM_BLD_new(), OSSL_PARAM_BLD_free);
  OSSL_PARAM_BLD_push_utf8_string(build.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
  OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                   point.size());
  return MakeKey("EC", build.get());
}

// A JWS signature is r and s side by side; OpenSSL wants them in DER. Empty if `raw` is not such a
// pair.
std::string DerSignature(std::string_view raw) {
  if (raw.size() != 2 * kCoordinateBytes) return "";
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> signature(ECDSA_SIG_new(),
                                                                        ECDSA_SIG_free);
  ECDSA_SIG_set0(signature.get(), Number(raw.substr(0, kCoordinateBytes)).release(),
                 Number(raw.substr(kCoordinateBytes)).release());
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return "";
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

bool DecodeBase64Url(std::string_view text, std::string& bytes) {
  bytes.clear();
  bytes.reserve(text.size() * 3 / 4);
  uint32_t pending = 0;
  int bits = 0;
  for (const char c : text) {
    int value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = c - 'A';
    } else if (c >= 'a' && c <= 'z') {
      value = c - 'a' + 26;
    } else if (c >= '0' && c <= '9') {
      value = c - '0' + 52;
    } else if (c == '-' || c == '_') {
      value = c == '-' ? 62 : 63;
    } else {
      return false;
    }
    pending = pending << 6 | static_cast<uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<char>(pending >> bits & 0xff));
  }
  return bits < 6 && (pending & ((1u << bits) - 1)) == 0;
}

absl::StatusOr<KeySet> KeySet::Parse(const std::string& json) {
  Struct set;
  if (!ReadJsonObject(json, set))
    return absl::InvalidArgumentError("is no JSON object, or has something in it twice");
  const auto keys = set.fields().find("keys");
  if (keys == set.fields().end() || !keys->second.has_list_value())
    return absl::InvalidArgumentError("is no JSON Web Key Set: it has no list 'keys'");
  KeySet made;
  int number = 0;
  for (const auto& value : keys->second.list_value().values()) {
    const Struct& jwk = value.struct_value();
    ++number;
    const std::string kty = Text(jwk, "kty"), alg = Text(jwk, "alg"), use = Text(jwk, "use");
    if (!use.empty() && use != "sig") continue;
    const bool rsa = kty == "RSA" && (alg.empty() || alg == "RS256");
    const bool ec = kty == "EC" && Text(jwk, "crv") == "P-256" && (alg.empty() || alg == "ES256");
    if (!rsa && !ec) continue;
    absl::StatusOr<EVP_PKEY*> key = rsa ? RsaKey(jwk) : EcKey(jwk);
    if (key.ok() && *key == nullptr) key = absl::InvalidArgumentError("it is no valid public key");
    if (key.ok() && made.keys_.size() == kMostKeys) {
      EVP_PKEY_free(*key);
      key = absl::InvalidArgumentError(absl::StrCat("there are ", kMostKeys, " before it"));
    }
    if (key.ok())
      made.keys_.push_back({Text(jwk, "kid"), rsa ? JwtAlgorithm::kRs256 : JwtAlgorithm::kEs256,
                            std::unique_ptr<EVP_PKEY, FreeKey>(*key)});
    else if (made.skipped_.size() < kMostKeys)
      made.skipped_.push_back(
          absl::StrCat("key ", number, " is skipped: ", key.status().message()));
  }
  if (made.keys_.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("holds no public key for RS256 or ES256 that does",
                     made.skipped_.empty() ? "" : absl::StrCat("; ", made.skipped_[0])));
  return made;
}

bool KeySet::Has(std::string_view kid) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const Key& key) { return key.kid == kid; });
}

bool KeySet::Verify(JwtAlgorithm algorithm, std::string_view kid, std::string_view text,
                    std::string_view signature) const {
  const std::string bytes =
      algorithm == JwtAlgorithm::kEs256 ? DerSignature(signature) : std::string(signature);
  if (bytes.empty()) return false;
  for (const Key& key : keys_) {
    if (key.algorithm != algorithm || (!kid.empty() && key.kid != kid)) continue;
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                          EVP_MD_CTX_free);
    const bool good =
        EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.key.get()) == 1 &&
        EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(bytes.data()),
                         bytes.size(), reinterpret_cast<const unsigned char*>(text.data()),
                         text.size()) == 1;
    ERR_clear_error();
    if (good) return true;
  }
  return false;
}

}  // namespace finetune
