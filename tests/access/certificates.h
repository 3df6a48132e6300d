#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "absl/time/time.h"

namespace finetune {

// A certificate with its key, for tests.
class TestCertificate {
 public:
  // Signed by `issuer`, or by itself as an authority. `name` is its common and its DNS name.
  explicit TestCertificate(const std::string& name, const TestCertificate* issuer = nullptr,
                           absl::Time begin = absl::Now() - absl::Hours(1),
                           absl::Time end = absl::Now() + absl::Hours(24))
      : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), cert_(X509_new(), X509_free) {
    static int64_t serial = 0;
    X509_set_version(cert_.get(), X509_VERSION_3);
    ASN1_INTEGER_set_int64(X509_get_serialNumber(cert_.get()), ++serial);
    ASN1_TIME_set(X509_getm_notBefore(cert_.get()), absl::ToTimeT(begin));
    ASN1_TIME_set(X509_getm_notAfter(cert_.get()), absl::ToTimeT(end));
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert_.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(cert_.get(),
                         X509_get_subject_name((issuer ? *issuer : *this).cert_.get()));
    X509_set_pubkey(cert_.get(), key_.get());
    Extend(NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
    Extend(NID_subject_alt_name, "DNS:" + name);
    X509_sign(cert_.get(), (issuer ? *issuer : *this).key_.get(), EVP_sha256());
  }

  std::string CertPem() const {
    return Written([this](BIO* bio) { PEM_write_bio_X509(bio, cert_.get()); });
  }
  std::string KeyPem() const {
    return Written([this](BIO* bio) {
      PEM_write_bio_PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }
  std::string KeyPemWithPassPhrase() const {
    return Written([this](BIO* bio) {
      PEM_write_bio_PKCS8PrivateKey(bio, key_.get(), EVP_aes_128_cbc(), "pass", 4, nullptr,
                                    nullptr);
    });
  }

 private:
  void Extend(int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    X509_add_ext(cert_.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  template <typename Write>
  static std::string Written(const Write& write) {
    BIO* bio = BIO_new(BIO_s_mem());
    write(bio);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
  }

  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  std::unique_ptr<X509, decltype(&X509_free)> cert_;
};

}  // namespace finetune
