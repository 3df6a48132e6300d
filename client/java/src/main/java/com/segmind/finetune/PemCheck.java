package com.segmind.finetune;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collection;

/** Looks at PEM files before gRPC gets them: what cannot be used is refused here, with a reason. */
final class PemCheck {
  private PemCheck() {}

  static Collection<? extends Certificate> certificates(String what, byte[] pem) throws IOException, GeneralSecurityException {
    Collection<? extends Certificate> found = CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem));
    if (found.isEmpty()) throw new IOException("the " + what + " file holds no certificate in PEM");
    return found;
  }

  /** The key belongs to the certificate: it signs what the certificate verifies. */
  static void pair(byte[] certificatePem, byte[] keyPem) throws IOException, GeneralSecurityException {
    PublicKey mine = certificates("TLS certificate", certificatePem).iterator().next().getPublicKey();
    PrivateKey key = key(mine.getAlgorithm(), keyPem);
    String algorithm = mine.getAlgorithm().equals("RSA") ? "SHA256withRSA" : mine.getAlgorithm().equals("EC") ? "SHA256withECDSA" : mine.getAlgorithm();
    Signature signing = Signature.getInstance(algorithm);
    signing.initSign(key);
    signing.update(keyPem);
    Signature verifying = Signature.getInstance(algorithm);
    verifying.initVerify(mine);
    verifying.update(keyPem);
    if (!verifying.verify(signing.sign())) throw new IOException("the TLS key does not belong to the TLS certificate");
  }

  static PrivateKey key(String algorithm, byte[] keyPem) throws IOException, GeneralSecurityException {
    String text = new String(keyPem, StandardCharsets.ISO_8859_1);
    int begin = text.indexOf("-----BEGIN PRIVATE KEY-----");
    int end = text.indexOf("-----END PRIVATE KEY-----");
    if (begin < 0 || end < begin)
      throw new IOException("the TLS key file holds no key in PKCS#8 (`openssl pkcs8 -topk8 -nocrypt -in KEY` makes one)");
    byte[] bytes;
    try {
      bytes = Base64.getMimeDecoder().decode(text.substring(begin + 27, end));
    } catch (IllegalArgumentException error) {
      throw new IOException("the TLS key file is damaged", error);
    }
    return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(bytes));
  }
}
