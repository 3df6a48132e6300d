package com.segmind.finetune;

import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedKeyManager;
import javax.net.ssl.X509ExtendedTrustManager;

/** Why a gateway cannot be reached: gRPC says of that no more than that time ran out. Connects once more, and takes seconds at most. */
final class Unreachable {
  private static final int PATIENCE_MS = 2_000;
  private static final Pattern SCHEME = Pattern.compile("^(dns:(//[^/]*/)?|ipv4:|ipv6:|passthrough:///)");
  private static final Pattern OTHER_KIND = Pattern.compile("(unix|unix-abstract|vsock):.*|(?!dns:|ipv[46]:|passthrough:)[a-z][a-z0-9+.-]*://.*");
  private static final Pattern HOST_AND_PORT = Pattern.compile("(\\[[^\\]]+\\]|[^:/]+):(\\d{1,5})");

  private Unreachable() {}

  /** Null for what has no such, as {@code unix:/path}. Not looked up. */
  static InetSocketAddress hostAndPort(String target) {
    Matcher found = HOST_AND_PORT.matcher(SCHEME.matcher(target).replaceFirst("").split(",")[0]);
    if (!found.matches()) return null;
    int port = Integer.parseInt(found.group(2));
    return port < 1 || port > 65535 ? null : InetSocketAddress.createUnresolved(found.group(1).replaceAll("^\\[|]$", ""), port);
  }

  static boolean hasPort(String target) {
    return hostAndPort(target) != null || OTHER_KIND.matcher(target).matches();
  }

  static String couldNotConnect(String target, long afterMs, String why) {
    String seconds = afterMs % 1000 == 0 ? String.valueOf(afterMs / 1000) : String.format(Locale.ROOT, "%.1f", afterMs / 1000.0);
    return "could not connect to " + target + " in " + seconds + " s" + (why.isEmpty() ? "" : ": " + why);
  }

  /** Half a sentence; empty if nothing is wrong that can be seen from here. */
  static String why(String target, Settings settings) {
    InetSocketAddress address = hostAndPort(target);
    if (address == null) return "";
    if (!Connection.isLoopback(target)) {
      Proxy proxy = ProxySelector.getDefault().select(URI.create("https://" + address.getHostString() + ":" + address.getPort())).get(0);
      if (proxy.type() != Proxy.Type.DIRECT)
        return "the way there is the proxy " + proxy.address() + "; is it the proxy's to connect there? If not, name the host in http.nonProxyHosts";
    }
    try {
      connect(address).close();
      return settings.secure() ? whyNoTls(address, settings) : whyNotPlain(address);
    } catch (java.net.UnknownHostException error) {
      return "there is no host " + address.getHostString();
    } catch (ConnectException error) {
      return "connection refused; is the gateway running there?";
    } catch (SocketTimeoutException error) {
      return "no answer";
    } catch (IOException | GeneralSecurityException error) {
      return String.valueOf(error.getMessage());
    }
  }

  private static Socket connect(InetSocketAddress address) throws IOException {
    IOException last = null;
    for (InetAddress each : InetAddress.getAllByName(address.getHostString())) {
      Socket made = new Socket(Proxy.NO_PROXY);
      try {
        made.connect(new InetSocketAddress(each, address.getPort()), PATIENCE_MS);
        made.setSoTimeout(PATIENCE_MS);
        return made;
      } catch (IOException error) {
        made.close();
        last = error;
      }
    }
    throw last;
  }

  private static String whyNoTls(InetSocketAddress address, Settings settings) throws IOException, GeneralSecurityException {
    String name = settings.tlsServerName() != null ? settings.tlsServerName() : address.getHostString();
    Trust trust = new Trust(settings);
    OwnKey own = new OwnKey(settings);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(new OwnKey[] {own}, new TrustManager[] {trust}, null);
    boolean silent = false;
    try (SSLSocket stream = (SSLSocket) context.getSocketFactory().createSocket(connect(address), name, address.getPort(), true)) {
      SSLParameters parameters = stream.getSSLParameters();
      parameters.setApplicationProtocols(new String[] {"h2"});
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      stream.setSSLParameters(parameters);
      stream.startHandshake();
      // An HTTP/2 server speaks first. A client's certificate that it does not like it refuses only now.
      if (stream.getInputStream().read() >= 0) return "";
    } catch (SocketTimeoutException error) {
      silent = true;
    } catch (SSLHandshakeException error) {
      String why = unverified(error, trust, name, settings);
      if (!why.isEmpty()) return why;
    } catch (IOException refused) {
      // What was learned before says why.
    }
    if (silent) return "what is there does not answer; is it the right port?";
    if (own.wanted) {
      return settings.tlsCert() == null ? "it asks for a client certificate; give yours withTlsCertificate"
          : "it does not accept the certificate " + settings.tlsCert();
    }
    if (trust.asked) return "";
    return "what is there does not speak TLS; is it the right port, and is the gateway one with TLS?";
  }

  private static String unverified(SSLHandshakeException error, Trust trust, String name, Settings settings) {
    if (!trust.asked) return "";
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (cause instanceof CertificateExpiredException) return "its certificate has expired";
      if (cause instanceof CertificateNotYetValidException) return "its certificate is not valid yet; is this machine's clock right?";
    }
    if (trust.trusted && !trust.named) return "its certificate is not for " + name + "; call it by a name that the certificate has";
    if (trust.refused) {
      return "its certificate is not signed by an authority "
          + (settings.tlsCa() != null ? "in " + settings.tlsCa() : "that this system trusts; give its authority withTlsCa");
    }
    return "";
  }

  private static String whyNotPlain(InetSocketAddress address) throws IOException, GeneralSecurityException {
    Trust trust = new Trust(null);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, new TrustManager[] {trust}, null);
    try (SSLSocket stream = (SSLSocket) context.getSocketFactory().createSocket(connect(address), address.getHostString(), address.getPort(), true)) {
      stream.startHandshake();
    } catch (SSLException | SocketTimeoutException | java.net.SocketException refused) {
      if (!trust.asked) return speaksHttp(address) ? "what is there speaks HTTP, not gRPC; is it the right port?" : "";
    }
    return "it speaks TLS; give the authority of its certificate withTlsCa, or withTls";
  }

  private static boolean speaksHttp(InetSocketAddress address) {
    try (Socket stream = connect(address)) {
      stream.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
      return Arrays.equals(stream.getInputStream().readNBytes(5), "HTTP/".getBytes(StandardCharsets.US_ASCII));
    } catch (IOException error) {
      return false;
    }
  }

  /** Trusts whom the settings trust (everybody, without settings), and remembers what it was asked. */
  private static final class Trust extends X509ExtendedTrustManager {
    private X509ExtendedTrustManager real;
    private boolean asked;
    private boolean trusted;
    private boolean named;
    private boolean refused;

    Trust(Settings settings) throws IOException, GeneralSecurityException {
      if (settings == null) return;
      KeyStore store = null;
      if (settings.tlsCa() != null) {
        store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        int number = 0;
        for (Certificate authority : PemCheck.certificates("TLS CA", Files.readAllBytes(settings.tlsCa())))
          store.setCertificateEntry("ca" + number++, authority);
      }
      TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      factory.init(store);
      real = (X509ExtendedTrustManager) factory.getTrustManagers()[0];
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) throws java.security.cert.CertificateException {
      asked = true;
      if (real == null) return;
      try {
        real.checkServerTrusted(chain, type);
        trusted = true;
      } finally {
        refused = !trusted;
      }
      real.checkServerTrusted(chain, type, socket);
      named = true;
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type) {}

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type) {}

    @Override
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }

  /** The certificate of the settings, if there is one; remembers whether it was asked for. */
  private static final class OwnKey extends X509ExtendedKeyManager {
    private X509Certificate[] chain;
    private PrivateKey key;
    private boolean wanted;

    OwnKey(Settings settings) throws IOException, GeneralSecurityException {
      if (settings.tlsCert() == null) return;
      chain = PemCheck.certificates("TLS certificate", Files.readAllBytes(settings.tlsCert())).toArray(new X509Certificate[0]);
      key = PemCheck.key(chain[0].getPublicKey().getAlgorithm(), Files.readAllBytes(settings.tlsKey()));
    }

    @Override
    public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
      wanted = true;
      return key == null ? null : "own";
    }

    @Override
    public String[] getClientAliases(String type, Principal[] issuers) {
      return null;
    }

    @Override
    public String[] getServerAliases(String type, Principal[] issuers) {
      return null;
    }

    @Override
    public String chooseServerAlias(String type, Principal[] issuers, Socket socket) {
      return null;
    }

    @Override
    public X509Certificate[] getCertificateChain(String alias) {
      return chain;
    }

    @Override
    public PrivateKey getPrivateKey(String alias) {
      return key;
    }
  }
}
