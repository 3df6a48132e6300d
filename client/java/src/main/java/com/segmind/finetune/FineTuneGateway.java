package com.segmind.finetune;

import com.google.protobuf.Duration;
import com.segmind.finetune.v1.CreateFineTuneRequest;
import com.segmind.finetune.v1.CreateUploadUrlRequest;
import com.segmind.finetune.v1.Dataset;
import com.segmind.finetune.v1.FineTune;
import com.segmind.finetune.v1.FineTuneServiceGrpc.FineTuneServiceBlockingStub;
import com.segmind.finetune.v1.GatewayStatus;
import com.segmind.finetune.v1.GetFineTuneRequest;
import com.segmind.finetune.v1.GetGatewayStatusRequest;
import com.segmind.finetune.v1.ListFineTunesRequest;
import com.segmind.finetune.v1.ListFineTunesResponse;
import com.segmind.finetune.v1.UpdateFineTuneRequest;
import com.segmind.finetune.v1.UploadUrl;
import com.segmind.finetune.v1.WaitFineTuneRequest;
import com.segmind.finetune.v1.WaitFineTuneResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.function.BiFunction;
import java.util.function.Predicate;

/**
 * One gateway. Thread-safe. Calls block; interrupting the thread ends them. A call that fails throws a {@link GatewayException}, what is wrong on
 * this machine an {@link IOException} or an {@link IllegalArgumentException}.
 */
public final class FineTuneGateway implements AutoCloseable {
  private static final java.time.Duration USUAL = java.time.Duration.ofSeconds(30);
  /** A longer wait is made of several calls, so that one that was lost on its way is noticed. */
  private static final long WAIT_SLICE_MS = 600_000;
  /** What a call may take beyond the time that it waits. */
  private static final long WAIT_GRACE_MS = 30_000;

  private final Connection connection;
  private final Transfers transfers;
  private SharedWatch shared;

  private FineTuneGateway(Connection connection) {
    this.connection = connection;
    this.transfers = new Transfers(connection);
  }

  /**
   * A client of the gateway at {@code target}: HOST:PORT, or a gRPC name such as dns:///finetune-gateway:50051. Does not connect: the first call
   * does, and waits for a gateway that is away until its own timeout.
   *
   * @throws IllegalArgumentException for settings that cannot work
   * @throws java.io.UncheckedIOException for files that cannot be read
   */
  public static FineTuneGateway connect(String target, Settings settings) {
    return new FineTuneGateway(new Connection(target, settings));
  }

  /** Ends all watches, all calls under way, and the connection. */
  @Override
  public void close() {
    SharedWatch watch;
    synchronized (this) {
      watch = shared;
      shared = null;
    }
    connection.close();
    if (watch != null) watch.close();
  }

  static GatewayException failure(Connection connection, StatusRuntimeException error) {
    if (connection.isClosed()) return new ClientClosedException("the client is closed");
    if (Thread.currentThread().isInterrupted()) return new ClientClosedException("interrupted");
    return GatewayException.of(error);
  }

  private <Q, A> A call(BiFunction<FineTuneServiceBlockingStub, Q, A> method, Q request, java.time.Duration timeout) {
    return connection.call(stub -> method.apply(stub, request), timeout);
  }

  private void sleep(long ms) {
    try {
      for (long end = System.nanoTime() + ms * 1_000_000; end > System.nanoTime() && !connection.isClosed();)
        Thread.sleep(Math.min(200, 1 + (end - System.nanoTime()) / 1_000_000));
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new ClientClosedException("interrupted");
    }
  }

  /** {@link #submit(CreateFineTuneRequest, java.time.Duration)} of a job, within a minute. */
  public Submission submit(FineTune job) {
    return submit(CreateFineTuneRequest.newBuilder().setFineTune(job).build(), java.time.Duration.ofMinutes(1));
  }

  /**
   * Submits a job: one request_id makes at most one job, whatever fails. Makes one if the request has none, and repeats the call with it while the
   * gateway is out of reach, until the timeout. The exception of one that failed has the request_id to repeat it with; to go on after a crash, keep
   * one of your own before the call.
   */
  public Submission submit(CreateFineTuneRequest request, java.time.Duration timeout) {
    String id = !request.getRequestId().isEmpty() || request.getValidateOnly() ? request.getRequestId() : UUID.randomUUID().toString();
    CreateFineTuneRequest once = request.toBuilder().setRequestId(id).build();
    long deadline = System.nanoTime() + timeout.toNanos();
    Backoff backoff = new Backoff(250, 5_000);
    while (true) {
      try {
        java.time.Duration left = java.time.Duration.ofNanos(deadline - System.nanoTime());
        return new Submission(call(FineTuneServiceBlockingStub::createFineTune, once, left), id);
      } catch (GatewayException error) {
        long pause = backoff.next(error.retryDelay());
        if (!error.worthRepeating() || System.nanoTime() + pause * 1_000_000 >= deadline) throw error.withRequestId(id);
        sleep(pause);
      }
    }
  }

  /** The job {@code fineTunes/{id}}, from the gateway's memory. */
  public FineTune get(String name) {
    return get(GetFineTuneRequest.newBuilder().setName(name).build());
  }

  /** The same, with a bound on the age of what is told. */
  public FineTune get(GetFineTuneRequest request) {
    return call(FineTuneServiceBlockingStub::getFineTune, request, USUAL);
  }

  /** All jobs that match, newest first. */
  public Iterable<FineTune> list(String filter) {
    return list(ListFineTunesRequest.newBuilder().setFilter(filter).build());
  }

  /** All jobs that match, from the request's page on, page by page as they are asked for. */
  public Iterable<FineTune> list(ListFineTunesRequest request) {
    return () -> new Iterator<>() {
      private ListFineTunesRequest next = request;
      private Iterator<FineTune> page = Collections.emptyIterator();

      @Override
      public boolean hasNext() {
        while (!page.hasNext() && next != null) {
          ListFineTunesResponse answer = call(FineTuneServiceBlockingStub::listFineTunes, next, USUAL);
          page = answer.getFineTunesList().iterator();
          next = answer.getNextPageToken().isEmpty() ? null : next.toBuilder().setPageToken(answer.getNextPageToken()).build();
        }
        return page.hasNext();
      }

      @Override
      public FineTune next() {
        hasNext();
        return page.next();
      }
    };
  }

  /** Changes the job's visibility, at Segmind. */
  public FineTune updateVisibility(String name, FineTune.Visibility visibility) {
    UpdateFineTuneRequest.Builder request = UpdateFineTuneRequest.newBuilder();
    request.getFineTuneBuilder().setName(name).setVisibility(visibility);
    request.getUpdateMaskBuilder().addPaths("visibility");
    return update(request.build());
  }

  /** Sets these labels and removes those; others stay. */
  public FineTune updateLabels(String name, Map<String, String> set, Collection<String> remove) {
    UpdateFineTuneRequest.Builder request = UpdateFineTuneRequest.newBuilder();
    request.getFineTuneBuilder().setName(name).putAllLabels(set);
    set.keySet().forEach(key -> request.getUpdateMaskBuilder().addPaths("labels." + key));
    remove.forEach(key -> request.getUpdateMaskBuilder().addPaths("labels." + key));
    return update(request.build());
  }

  /** Changes what the mask names; with an etag, only if the job is still as it was then (ETAG_MISMATCH). */
  public FineTune update(UpdateFineTuneRequest request) {
    return call(FineTuneServiceBlockingStub::updateFineTune, request, USUAL);
  }

  /** How healthy and how fresh the gateway is, who you are to it, and what you may still do. */
  public GatewayStatus status() {
    return call(FineTuneServiceBlockingStub::getGatewayStatus, GetGatewayStatusRequest.getDefaultInstance(), USUAL);
  }

  /** A URL to which a dataset can be PUT directly, by whoever has internet access. */
  public UploadUrl uploadUrl(String fileName, boolean publicRead) {
    return call(FineTuneServiceBlockingStub::createUploadUrl,
        CreateUploadUrlRequest.newBuilder().setFileName(fileName).setPublicRead(publicRead).build(), USUAL);
  }

  /** {@link #waitFor(String, FineTune.State, java.time.Duration)} for as long as it takes. */
  public FineTune waitFor(String name, FineTune.State until) {
    return waitFor(name, until, java.time.Duration.ofDays(36_500));
  }

  /**
   * The job once it has reached the state, or has ended otherwise: look at its state. Goes on across restarts of the gateway.
   *
   * @throws UnreachableException when the gateway was never there
   * @throws WaitTimeoutException when the time has run out
   */
  public FineTune waitFor(String name, FineTune.State until, java.time.Duration timeout) {
    long deadline = System.nanoTime() + timeout.toMillis() * 1_000_000;
    connection.reach(timeout);
    Backoff backoff = new Backoff(250, 5_000);
    FineTune seen = null;
    while (true) {
      long began = System.nanoTime();
      long slice = Math.max(0, Math.min(WAIT_SLICE_MS, (deadline - began) / 1_000_000));
      long pause = 0;
      try {
        WaitFineTuneRequest request = WaitFineTuneRequest.newBuilder().setName(name).setUntil(until)
            .setTimeout(Duration.newBuilder().setSeconds(slice / 1000).setNanos((int) (slice % 1000) * 1_000_000)).build();
        WaitFineTuneResponse answer =
            call(FineTuneServiceBlockingStub::waitFineTune, request, java.time.Duration.ofMillis(slice + WAIT_GRACE_MS));
        seen = answer.getFineTune();
        if (answer.getDone() || States.hasReached(seen.getState(), until) || States.isTerminal(seen.getState())) return seen;
        // A server that answers before its time is not asked in a tight loop.
        if (System.nanoTime() - began < slice * 500_000) pause = backoff.next(Optional.empty());
        else backoff.reset();
      } catch (GatewayException error) {
        if (!error.worthRepeating() && error.code() != Status.Code.DEADLINE_EXCEEDED) throw error;
        pause = backoff.next(error.retryDelay());
      }
      if (System.nanoTime() + pause * 1_000_000 >= deadline)
        throw new WaitTimeoutException(name + " was not " + until + " in time" + (seen == null ? "" : "; it is " + seen.getState()), seen);
      sleep(pause);
    }
  }

  /** Events about all jobs, for ever; see {@link #watch(Collection, Predicate)}. */
  public Watch watch() {
    return watch(List.of(), null);
  }

  /** Events about jobs for which {@code where} is true; LEFT when one stops being so. */
  public Watch watch(Predicate<FineTune> where) {
    return watch(List.of(), where);
  }

  /**
   * Events about jobs, for ever: first all that there are, then SYNCED, then each change. All watches of a client share one stream, which resumes by
   * itself and tells nothing twice. Close it to end it.
   *
   * @param names only these jobs; none means all
   * @param where only jobs for which it is true, or null
   */
  public synchronized Watch watch(Collection<String> names, Predicate<FineTune> where) {
    if (connection.isClosed()) throw new ClientClosedException("the client is closed");
    if (shared == null || shared.hasEnded()) shared = new SharedWatch(connection);
    synchronized (shared) {
      return new Watch(shared, names, where);
    }
  }

  /** {@link #upload(Path, boolean, String, boolean, Progress)} under the file's own name. FAST_FLUX needs {@code publicRead}. */
  public Dataset upload(Path path, boolean publicRead) throws IOException {
    return upload(path, publicRead, "", false, Progress.NONE);
  }

  /**
   * Sends a zip, or the images of a folder as one, through the gateway; the data source URI of what is returned is for submit.
   *
   * @param fileName what it is called at its other end; its own name if empty
   * @param force sends a zip that Segmind is likely to refuse
   * @throws IllegalArgumentException for what Segmind would refuse an hour later: no zip, no image at its top level
   */
  public Dataset upload(Path path, boolean publicRead, String fileName, boolean force, Progress progress) throws IOException {
    try (DatasetFile file = new DatasetFile(path, publicRead, fileName, force)) {
      Backoff backoff = new Backoff(100, 20_000);
      for (int attempt = 1;; attempt++) {
        try {
          return transfers.send(file, progress);
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          throw new ClientClosedException("interrupted");
        } catch (GatewayException error) {
          boolean repeat = error.worthRepeating() || error.code() == Status.Code.DATA_LOSS;
          if (attempt == Transfers.ATTEMPTS || !repeat) throw error;
          sleep(backoff.next(error.retryDelay()));
        }
      }
    }
  }

  public Download download(String name, Path path) throws IOException {
    return download(name, path, Progress.NONE);
  }

  /**
   * Fetches a job's weights into {@code path}. Goes on where it broke, also in a later process, unless the file has changed at its source; until it is
   * whole its bytes are in PATH.part, and what lies at {@code path} stays.
   */
  public Download download(String name, Path path, Progress progress) throws IOException {
    try (PartialFile file = new PartialFile(path)) {
      long resumed = file.size();
      Backoff backoff = new Backoff(100, 20_000);
      for (int attempt = 1;; attempt++) {
        long before = file.size();
        try {
          transfers.fetch(name, file, progress);
          return Transfers.finished(file, resumed);
        } catch (GatewayException error) {
          if (file.size() > before) {
            attempt = 0;
            backoff.reset();
          }
          boolean spoilt = error.reason().equals("WEIGHTS_CHANGED") || error.code() == Status.Code.DATA_LOSS || error.code() == Status.Code.OUT_OF_RANGE;
          boolean restart = spoilt && (before > 0 || file.size() > 0);
          if (restart) {
            file.restart("");
            resumed = 0;
          }
          if (attempt >= Transfers.ATTEMPTS || !(restart || error.worthRepeating())) throw error;
          sleep(backoff.next(error.retryDelay()));
        }
      }
    }
  }
}
