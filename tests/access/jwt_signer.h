#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace finetune {

inline std::string Base64Url(const std::string& bytes) { return absl::WebSafeBase64Escape(bytes); }

// A key pair that signs tokens as an issuer does.
class JwtSigner {
 public:
  static JwtSigner Rsa(int bits = 2048) {
    return JwtSigner(EVP_RSA_gen(static_cast<unsigned>(bits)), "RS256");
  }
  static JwtSigner Ec() { return JwtSigner(EVP_EC_gen("P-256"), "ES256"); }

  std::string Sign(const std::string& claims, const std::string& kid = "k1") const {
    return SignWithHeader(absl::StrCat(R"({"alg":")", alg_, R"(","kid":")", kid, R"("})"), claims);
  }
  std::string SignWithHeader(const std::string& header, const std::string& claims) const {
    const std::string text = Base64Url(header) + "." + Base64Url(claims);
    return text + "." + Base64Url(Signature(text));
  }

  // One member of a key set's `keys`.
  std::string Jwk(const std::string& kid = "k1") const {
    if (alg_ == "RS256")
      return absl::StrCat(R"({"kty":"RSA","use":"sig","alg":"RS256","kid":")", kid, R"(","n":")",
                          Number(OSSL_PKEY_PARAM_RSA_N), R"(","e":")",
                          Number(OSSL_PKEY_PARAM_RSA_E), R"("})");
    return absl::StrCat(R"({"kty":"EC","crv":"P-256","kid":")", kid, R"(","x":")",
                        Number(OSSL_PKEY_PARAM_EC_PUB_X, 32), R"(","y":")",
                        Number(OSSL_PKEY_PARAM_EC_PUB_Y, 32), R"("})");
  }
  std::string KeySetJson() const { return absl::StrCat(R"({"keys":[)", Jwk(), "]}"); }

  std::string PublicPem() const {
    std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_PUBKEY(bio.get(), key_.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<size_t>(size));
  }

 private:
  JwtSigner(EVP_PKEY* key, std::string alg) : key_(key, EVP_PKEY_free), alg_(std::move(alg)) {}

  std::string Number(const char* name, int width = 0) const {
    BIGNUM* number = nullptr;
    EVP_PKEY_get_bn_param(key_.get(), name, &number);
    std::string bytes(static_cast<size_t>(width > 0 ? width : BN_num_bytes(number)), '\0');
    BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()),
                 static_cast<int>(bytes.size()));
    BN_free(number);
    return Base64Url(bytes);
  }

  std::string Signature(const std::string& text) const {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                    EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get());
    size_t size = 0;
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size());
    std::string made(size, '\0');
    EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(made.data()), &size, bytes,
                   text.size());
    made.resize(size);
    return alg_ == "RS256" ? made : Raw(made);
  }

  static std::string Raw(const std::string& der) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> signature(
        d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())), ECDSA_SIG_free);
    std::string raw(64, '\0');
    auto* out = reinterpret_cast<unsigned char*>(raw.data());
    BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out + 32, 32);
    return raw;
  }

  std::shared_ptr<EVP_PKEY> key_;
  std::string alg_;
};

inline std::string HmacSha256(const std::string& key, const std::string& text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  return std::string(reinterpret_cast<char*>(digest), size);
}

}  // namespace finetune
