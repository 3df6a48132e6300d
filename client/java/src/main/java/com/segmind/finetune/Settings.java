package com.segmind.finetune;

import java.nio.file.Path;
import java.time.Duration;

/**
 * How a gateway is reached. The paths are of PEM files and of a file with a bearer token; all are reread when they change.
 *
 * @param tls TLS with the system's authorities; implied by tlsCa and tlsCert
 * @param tlsCa the authorities to trust instead of the system's
 * @param tlsCert the client's own certificate
 * @param tlsKey its key, in PKCS#8
 * @param tlsServerName the name in the gateway's certificate, if it is not the one that is dialled
 * @param tokenFile sent as {@code authorization: Bearer …}
 * @param allowInsecureToken sends the token without encryption beyond this machine, too
 * @param connectTimeout after how long a transfer or a wait gives up a gateway that cannot be reached; other calls have their own timeout
 */
public record Settings(
    boolean tls, Path tlsCa, Path tlsCert, Path tlsKey, String tlsServerName, Path tokenFile, boolean allowInsecureToken,
    Duration connectTimeout) {
  /** Neither TLS nor a token. */
  public static Settings insecure() {
    return new Settings(false, null, null, null, null, null, false, Duration.ofSeconds(30));
  }

  public Settings withTls() {
    return new Settings(true, tlsCa, tlsCert, tlsKey, tlsServerName, tokenFile, allowInsecureToken, connectTimeout);
  }

  public Settings withTlsCa(Path file) {
    return new Settings(tls, file, tlsCert, tlsKey, tlsServerName, tokenFile, allowInsecureToken, connectTimeout);
  }

  public Settings withTlsCertificate(Path certificate, Path key) {
    return new Settings(tls, tlsCa, certificate, key, tlsServerName, tokenFile, allowInsecureToken, connectTimeout);
  }

  public Settings withTlsServerName(String name) {
    return new Settings(tls, tlsCa, tlsCert, tlsKey, name, tokenFile, allowInsecureToken, connectTimeout);
  }

  public Settings withTokenFile(Path file) {
    return new Settings(tls, tlsCa, tlsCert, tlsKey, tlsServerName, file, allowInsecureToken, connectTimeout);
  }

  public Settings withInsecureTokenAllowed() {
    return new Settings(tls, tlsCa, tlsCert, tlsKey, tlsServerName, tokenFile, true, connectTimeout);
  }

  public Settings withConnectTimeout(Duration timeout) {
    return new Settings(tls, tlsCa, tlsCert, tlsKey, tlsServerName, tokenFile, allowInsecureToken, timeout);
  }

  boolean secure() {
    return tls || tlsCa != null || tlsCert != null;
  }

  void check(String target) {
    if (target.isEmpty()) throw new IllegalArgumentException("the gateway's address is empty");
    if (target.matches("(?i)https?://.*"))
      throw new IllegalArgumentException("the gateway's address is HOST:PORT, without http:// or https://");
    if (!Unreachable.hasPort(target))
      throw new IllegalArgumentException("the gateway's address is HOST:PORT, and '" + target + "' has no port");
    if ((tlsCert == null) != (tlsKey == null))
      throw new IllegalArgumentException("a TLS certificate needs its key, and a key its certificate");
    if (tokenFile != null && !secure() && !allowInsecureToken && !Connection.isLoopback(target))
      throw new IllegalArgumentException("the token would be sent to " + target + " without encryption: use TLS");
  }
}
