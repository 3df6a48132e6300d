// Drives the Java client: see ../README.md.

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import com.segmind.finetune.ClientClosedException;
import com.segmind.finetune.Download;
import com.segmind.finetune.Event;
import com.segmind.finetune.FineTuneGateway;
import com.segmind.finetune.GatewayException;
import com.segmind.finetune.Settings;
import com.segmind.finetune.Submission;
import com.segmind.finetune.WaitTimeoutException;
import com.segmind.finetune.Watch;
import com.segmind.finetune.v1.CreateFineTuneRequest;
import com.segmind.finetune.v1.Dataset;
import com.segmind.finetune.v1.FineTune;
import com.segmind.finetune.v1.ListFineTunesRequest;
import com.segmind.finetune.v1.UpdateFineTuneRequest;
import com.segmind.finetune.v1.UploadUrl;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

public final class Driver {
  private static final Gson GSON = new Gson();
  private volatile FineTuneGateway gateway;
  private final Map<Integer, Watch> watches = new ConcurrentHashMap<>();
  private final Map<Integer, Thread> threads = new ConcurrentHashMap<>();

  public static void main(String[] arguments) throws Exception {
    new Driver().run();
  }

  private void run() throws Exception {
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      JsonObject command = JsonParser.parseString(line).getAsJsonObject();
      Thread thread = new Thread(() -> execute(command));
      thread.setDaemon(true);
      threads.put(command.get("id").getAsInt(), thread);
      thread.start();
    }
    System.exit(0);
  }

  private static synchronized void say(JsonObject command, String kind, JsonElement what) {
    JsonObject message = new JsonObject();
    message.add("id", command.get("id"));
    message.add(kind, what);
    System.out.println(GSON.toJson(message));
  }

  private void execute(JsonObject command) {
    try {
      say(command, "ok", done(command));
    } catch (Exception error) {
      say(command, "error", described(error));
    }
  }

  private static JsonObject described(Exception error) {
    JsonObject said = new JsonObject();
    said.addProperty("message", String.valueOf(error.getMessage()));
    if (error instanceof WaitTimeoutException) {
      said.addProperty("code", "WAIT_TIMEOUT");
    } else if (error instanceof ClientClosedException || !(error instanceof GatewayException)) {
      said.addProperty("code", error instanceof ClientClosedException ? "CANCELLED" : "LOCAL");
    } else {
      GatewayException failed = (GatewayException) error;
      said.addProperty("code", failed.code().name());
      said.addProperty("reason", failed.reason());
      said.addProperty("request_id", failed.requestId());
      said.add("violations", GSON.toJsonTree(failed.violations()));
      said.add("quota", GSON.toJsonTree(failed.quota()));
      failed.retryDelay().ifPresent(delay -> said.addProperty("retry_delay", delay.toNanos() / 1e9));
    }
    return said;
  }

  private static String text(JsonObject command, String name) {
    return command.has(name) ? command.get(name).getAsString() : "";
  }

  private static boolean flag(JsonObject command, String name) {
    return command.has(name) && command.get(name).getAsBoolean();
  }

  private static List<String> texts(JsonObject command, String name) {
    List<String> found = new ArrayList<>();
    if (command.has(name)) command.getAsJsonArray(name).forEach(item -> found.add(item.getAsString()));
    return found;
  }

  private static Duration timeout(JsonObject command, double otherwise) {
    double seconds = command.has("timeout") ? command.get("timeout").getAsDouble() : otherwise;
    return Duration.ofMillis((long) (seconds * 1000));
  }

  private static JsonObject with(String name, Message message) throws InvalidProtocolBufferException {
    JsonObject made = new JsonObject();
    made.add(name, JsonParser.parseString(JsonFormat.printer().print(message)));
    return made;
  }

  private JsonObject done(JsonObject command) throws Exception {
    JsonObject made = new JsonObject();
    AtomicInteger progress = new AtomicInteger();
    switch (text(command, "op")) {
      case "connect" -> connect(command);
      case "close" -> gateway.close();
      case "cancel" -> cancel(command.get("target").getAsInt());
      case "submit" -> {
        CreateFineTuneRequest.Builder request = CreateFineTuneRequest.newBuilder()
            .setRequestId(text(command, "request_id")).setValidateOnly(flag(command, "validate_only"));
        JsonFormat.parser().merge(GSON.toJson(command.get("fine_tune")), request.getFineTuneBuilder());
        Submission submission = gateway.submit(request.build(), timeout(command, 60));
        made = with("fine_tune", submission.fineTune());
        made.addProperty("request_id", submission.requestId());
        made.addProperty("unknown", submission.unknown());
      }
      case "get" -> made = with("fine_tune", gateway.get(text(command, "name")));
      case "list" -> {
        JsonArray names = new JsonArray();
        ListFineTunesRequest request = ListFineTunesRequest.newBuilder().setFilter(text(command, "filter")).setOrderBy(text(command, "order_by"))
            .setPageSize(command.has("page_size") ? command.get("page_size").getAsInt() : 0).build();
        for (FineTune job : gateway.list(request)) names.add(job.getName());
        made.add("names", names);
      }
      case "update" -> made = with("fine_tune", update(command));
      case "status" -> made = with("status", gateway.status());
      case "wait" -> made = with("fine_tune", gateway.waitFor(
          text(command, "name"), FineTune.State.valueOf(text(command, "until")), timeout(command, 1e6)));
      case "watch" -> watch(command);
      case "upload" -> {
        Dataset dataset = gateway.upload(Path.of(text(command, "path")), flag(command, "public_read"), text(command, "file_name"), false,
            (done, total) -> progress.incrementAndGet());
        made.addProperty("data_source_uri", dataset.getDataSourceUri());
        made.addProperty("size_bytes", dataset.getSizeBytes());
        made.addProperty("sha256", HexFormat.of().formatHex(dataset.getSha256().toByteArray()));
        made.addProperty("progress", progress.get());
      }
      case "upload_url" -> {
        UploadUrl url = gateway.uploadUrl(text(command, "file_name"), flag(command, "public_read"));
        made.addProperty("upload_uri", url.getUploadUri());
        made.addProperty("data_source_uri", url.getDataSourceUri());
      }
      case "download" -> {
        Download download = gateway.download(text(command, "name"), Path.of(text(command, "path")), (done, total) -> progress.incrementAndGet());
        made.addProperty("size_bytes", download.sizeBytes());
        made.addProperty("sha256", download.sha256());
        made.addProperty("resumed_bytes", download.resumedBytes());
        made.addProperty("progress", progress.get());
      }
      default -> throw new IllegalArgumentException("there is no op " + text(command, "op"));
    }
    return made;
  }

  private void connect(JsonObject command) {
    if (gateway != null) gateway.close();
    Settings settings = Settings.insecure();
    if (command.has("tls_ca")) settings = settings.withTlsCa(Path.of(text(command, "tls_ca")));
    if (command.has("tls_cert"))
      settings = settings.withTlsCertificate(Path.of(text(command, "tls_cert")), command.has("tls_key") ? Path.of(text(command, "tls_key")) : null);
    if (command.has("tls_server_name")) settings = settings.withTlsServerName(text(command, "tls_server_name"));
    if (command.has("token_file")) settings = settings.withTokenFile(Path.of(text(command, "token_file")));
    if (command.has("connect_timeout"))
      settings = settings.withConnectTimeout(Duration.ofMillis((long) (command.get("connect_timeout").getAsDouble() * 1000)));
    gateway = FineTuneGateway.connect(text(command, "target"), settings);
  }

  private void cancel(int target) throws InterruptedException {
    Watch watch = watches.get(target);
    if (watch != null) watch.close();
    else threads.get(target).interrupt();
    threads.get(target).join();
  }

  private FineTune update(JsonObject command) {
    UpdateFineTuneRequest.Builder request = UpdateFineTuneRequest.newBuilder();
    request.getFineTuneBuilder().setName(text(command, "name")).setEtag(text(command, "etag"));
    if (command.has("visibility")) {
      request.getFineTuneBuilder().setVisibility(FineTune.Visibility.valueOf(text(command, "visibility")));
      request.getUpdateMaskBuilder().addPaths("visibility");
    }
    if (command.has("labels")) {
      command.getAsJsonObject("labels").entrySet().forEach(label -> {
        request.getFineTuneBuilder().putLabels(label.getKey(), label.getValue().getAsString());
        request.getUpdateMaskBuilder().addPaths("labels." + label.getKey());
      });
    }
    texts(command, "remove_labels").forEach(key -> request.getUpdateMaskBuilder().addPaths("labels." + key));
    return gateway.update(request.build());
  }

  private void watch(JsonObject command) throws InterruptedException {
    String state = text(command, "state");
    try (Watch watch = gateway.watch(texts(command, "names"), state.isEmpty() ? null : job -> job.getState().name().equals(state))) {
      watches.put(command.get("id").getAsInt(), watch);
      for (Event event : watch) {
        JsonObject said = new JsonObject();
        said.addProperty("kind", event.kind().name().toLowerCase());
        if (event.fineTune() != null) {
          said.addProperty("name", event.fineTune().getName());
          said.addProperty("state", event.fineTune().getState().name());
          said.addProperty("revision", event.fineTune().getRevision());
        }
        say(command, "event", said);
        if (command.has("slow_ms")) Thread.sleep(command.get("slow_ms").getAsInt());
      }
    }
  }
}
