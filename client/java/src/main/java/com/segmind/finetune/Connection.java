package com.segmind.finetune;

import com.segmind.finetune.v1.FineTuneServiceGrpc;
import com.segmind.finetune.v1.FineTuneServiceGrpc.FineTuneServiceBlockingStub;
import com.segmind.finetune.v1.FineTuneServiceGrpc.FineTuneServiceStub;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;

/** A channel whose credentials are those that the files hold now. Thread-safe. */
final class Connection implements AutoCloseable {
  static final String VERSION = "0.1.0";
  private static final String SERVICE = FineTuneServiceGrpc.SERVICE_NAME;
  private static final String CA = "TLS CA";
  private static final String CERTIFICATE = "TLS certificate";
  private static final String KEY = "TLS key";

  private final String target;
  private final Settings settings;
  private final WatchedFiles<ChannelCredentials> tls;
  private final WatchedFiles<String> token;
  private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor(work -> {
    Thread thread = new Thread(work, "finetune-reconnect");
    thread.setDaemon(true);
    return thread;
  });

  private ManagedChannel channel;
  private int version;
  /** Calls under way end on the channel that they began on. */
  private final Deque<ManagedChannel> old = new ArrayDeque<>();
  private volatile boolean closed;
  /** The channel that has brought an answer. */
  private volatile ManagedChannel reached;

  Connection(String target, Settings settings) {
    settings.check(target);
    this.target = target;
    this.settings = settings;
    Map<String, Path> paths = new LinkedHashMap<>();
    if (settings.tlsCa() != null) paths.put(CA, settings.tlsCa());
    if (settings.tlsCert() != null) paths.put(CERTIFICATE, settings.tlsCert());
    if (settings.tlsKey() != null) paths.put(KEY, settings.tlsKey());
    tls = new WatchedFiles<>(paths, this::credentials);
    token = settings.tokenFile() == null ? null : new WatchedFiles<>(Map.of("token", settings.tokenFile()), Connection::parseToken);
    // gRPC for Java waits up to two minutes before it tries again, and has no setting for that: a gateway that is back is to be found soon.
    timer.scheduleWithFixedDelay(this::reconnect, 1, 1, TimeUnit.SECONDS);
  }

  private ChannelCredentials credentials(Map<String, byte[]> files) throws IOException {
    if (!settings.secure()) return InsecureChannelCredentials.create();
    TlsChannelCredentials.Builder made = TlsChannelCredentials.newBuilder();
    try {
      if (files.containsKey(CA)) {
        made.trustManager(new ByteArrayInputStream(files.get(CA)));
        PemCheck.certificates(CA, files.get(CA));
      }
      if (files.containsKey(CERTIFICATE)) {
        PemCheck.pair(files.get(CERTIFICATE), files.get(KEY));
        made.keyManager(new ByteArrayInputStream(files.get(CERTIFICATE)), new ByteArrayInputStream(files.get(KEY)));
      }
    } catch (java.security.GeneralSecurityException error) {
      throw new IOException("the TLS files cannot be used: " + error.getMessage(), error);
    }
    return made.build();
  }

  private static String parseToken(Map<String, byte[]> files) {
    String text = new String(files.get("token"), StandardCharsets.UTF_8).strip();
    if (text.toLowerCase().startsWith("bearer "))
      throw new IllegalArgumentException("the token file must hold the token alone, without 'Bearer' before it");
    if (!text.matches("[\\x21-\\x7e]+"))
      throw new IllegalArgumentException("the token file must hold the token alone, as one word of plain text");
    return text;
  }

  /** Whether what is sent there stays on this machine. */
  static boolean isLoopback(String target) {
    String host = target.replaceFirst("^(dns:(//[^/]*/)?|ipv4:|ipv6:|passthrough:///)", "");
    if (host.startsWith("unix:") || host.startsWith("unix-abstract:")) return true;
    host = host.replaceFirst(":\\d+$", "").replaceAll("^\\[|]$", "");
    if (host.equals("localhost")) return true;
    if (!host.matches("[0-9.]+|.*:.*")) return false; // A name: it is not looked up.
    try {
      return InetAddress.getByName(host).isLoopbackAddress();
    } catch (UnknownHostException error) {
      return false;
    }
  }

  private synchronized ManagedChannel channel() {
    if (closed) throw new ClientClosedException("the client is closed");
    WatchedFiles.Value<ChannelCredentials> credentials = tls.value();
    if (channel == null || version != credentials.version()) {
      if (channel != null) old.add(channel);
      while (old.size() > 2) old.remove().shutdown();
      channel = open(credentials.value());
      version = credentials.version();
    }
    return channel;
  }

  private ManagedChannel open(ChannelCredentials credentials) {
    ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(target, credentials)
        .defaultServiceConfig(serviceConfig())
        .disableServiceConfigLookUp()
        .enableRetry()
        .userAgent("finetune-gateway-client-java/" + VERSION)
        .maxInboundMessageSize(64 << 20)
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .idleTimeout(1, TimeUnit.DAYS);
    if (isLoopback(target)) builder.proxyDetector(address -> null);
    if (settings.tlsServerName() != null) builder.overrideAuthority(settings.tlsServerName());
    return builder.build();
  }

  private synchronized void reconnect() {
    if (channel != null && channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) channel.resetConnectBackoff();
  }

  /** A channel with a connection; UnreachableException if none comes about in time. */
  ManagedChannel ready(Duration timeout) {
    ManagedChannel channel = channel();
    long deadline = System.nanoTime() + timeout.toNanos();
    for (ConnectivityState state = channel.getState(true); state != ConnectivityState.READY; state = channel.getState(true)) {
      if (closed) throw new ClientClosedException("the client is closed");
      if (System.nanoTime() >= deadline)
        throw new UnreachableException(Unreachable.couldNotConnect(target, timeout.toMillis(), Unreachable.why(target, settings)));
      CompletableFuture<Void> now = new CompletableFuture<>();
      channel.notifyWhenStateChanged(state, () -> now.complete(null));
      try {
        now.get(Math.max(1, deadline - System.nanoTime()), TimeUnit.NANOSECONDS);
      } catch (TimeoutException late) {
        continue;
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        throw new ClientClosedException("interrupted");
      } catch (ExecutionException never) {
        throw new IllegalStateException(never);
      }
    }
    reached = channel;
    return channel;
  }

  /** Waits for a connection, unless there was one before. */
  void reach(Duration timeout) {
    if (reached == null) ready(timeout.compareTo(settings.connectTimeout()) < 0 ? timeout : settings.connectTimeout());
  }

  /** One call, which waits for a gateway that is away until its timeout. */
  <A> A call(Function<FineTuneServiceBlockingStub, A> call, Duration timeout) {
    ManagedChannel channel = channel();
    long began = System.nanoTime();
    try {
      A answer = call.apply(FineTuneServiceGrpc.newBlockingStub(channel).withWaitForReady().withInterceptors(token())
          .withDeadlineAfter(Math.max(1, timeout.toMillis()), TimeUnit.MILLISECONDS));
      reached = channel;
      return answer;
    } catch (StatusRuntimeException error) {
      GatewayException failed = FineTuneGateway.failure(this, error);
      if (reached == channel || !failed.mayBeOutOfReach()) throw failed;
      long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
      String why = Unreachable.why(target, settings);
      throw why.isEmpty() ? failed : failed.because(Unreachable.couldNotConnect(target, took, why));
    }
  }

  /** For a transfer: with a connection; UnreachableException if none comes about in time. */
  FineTuneServiceBlockingStub readyBlocking() {
    return FineTuneServiceGrpc.newBlockingStub(ready(settings.connectTimeout())).withInterceptors(token());
  }

  FineTuneServiceStub readyAsync() {
    return FineTuneServiceGrpc.newStub(ready(settings.connectTimeout())).withInterceptors(token());
  }

  FineTuneServiceStub async() {
    return FineTuneServiceGrpc.newStub(channel()).withWaitForReady().withInterceptors(token());
  }

  private ClientInterceptor token() {
    Metadata headers = new Metadata();
    if (token != null) headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token.value().value());
    return MetadataUtils.newAttachHeadersInterceptor(headers);
  }

  boolean isClosed() {
    return closed;
  }

  @Override
  public synchronized void close() {
    closed = true;
    timer.shutdownNow();
    old.forEach(ManagedChannel::shutdownNow);
    if (channel != null) channel.shutdownNow();
  }

  private static Map<String, Object> retry(String... codes) {
    return Map.of("maxAttempts", 5.0, "initialBackoff", "0.1s", "maxBackoff", "5s", "backoffMultiplier", 2.0, "retryableStatusCodes", List.of(codes));
  }

  private static Map<String, Object> method(String name) {
    return Map.of("service", SERVICE, "method", name);
  }

  /** What the gateway recommends to all clients; a test compares them. */
  static Map<String, Object> serviceConfig() {
    List<Map<String, Object>> repeated = List.of(
        method("CreateFineTune"), method("GetFineTune"), method("ListFineTunes"), method("WaitFineTune"), method("CreateUploadUrl"),
        method("GetGatewayStatus"));
    return Map.of(
        "loadBalancingConfig", List.of(Map.of("round_robin", Map.of())),
        "methodConfig", List.of(
            Map.of("name", repeated, "waitForReady", true, "retryPolicy", retry("UNAVAILABLE", "CANCELLED")),
            Map.of("name", List.of(method("UpdateFineTune")), "waitForReady", true, "retryPolicy", retry("CANCELLED"))),
        "retryThrottling", Map.of("maxTokens", 1000.0, "tokenRatio", 0.1));
  }
}
