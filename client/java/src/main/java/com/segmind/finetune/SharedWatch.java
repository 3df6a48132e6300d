package com.segmind.finetune;

import com.segmind.finetune.v1.WatchFineTunesResponse;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** The one stream behind all watches of a client, and the thread that keeps it up. Opened by the first watch; ends with the last. Thread-safe. */
final class SharedWatch {
  /** A stream on which nothing came for that long is opened anew. The gateway sends a heartbeat every 15 s. */
  private static final long SILENCE_MS = 45_000;

  private final Connection connection;
  private final Context.CancellableContext context = Context.ROOT.withCancellation();
  private final Thread thread = new Thread(this::run, "finetune-watch");

  // Guarded by this.
  private final WatchView view = new WatchView();
  private boolean started;
  private boolean ended;
  private boolean everHeard;
  private long heard;

  SharedWatch(Connection connection) {
    this.connection = connection;
    thread.setDaemon(true);
  }

  synchronized boolean hasEnded() {
    return ended;
  }

  synchronized void add(Subscriber subscriber) {
    view.add(subscriber);
    if (!started) {
      started = true;
      thread.start();
    }
  }

  void remove(Subscriber subscriber) {
    synchronized (this) {
      view.remove(subscriber);
      if (view.watched()) return;
    }
    close();
  }

  void close() {
    synchronized (this) {
      if (!ended) view.end(new ClientClosedException("the client is closed"));
      ended = true;
      notifyAll();
    }
    context.cancel(null);
    if (Thread.currentThread() == thread) return;
    try {
      thread.join();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void run() {
    Backoff backoff = new Backoff(100, 20_000);
    while (true) {
      GatewayException error = read(backoff);
      synchronized (this) {
        if (!ended && error != null && !view.failed(error, everHeard)) ended = true;
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(backoff.next(error == null ? Optional.empty() : error.retryDelay()));
        try {
          for (long left = end - System.nanoTime(); !ended && left > 0; left = end - System.nanoTime()) wait(1 + left / 1_000_000);
        } catch (InterruptedException interrupted) {
          ended = true;
        }
        if (ended) return;
      }
    }
  }

  /** One stream, to its end; null for one that the gateway ended in order. */
  private GatewayException read(Backoff backoff) {
    CompletableFuture<GatewayException> done = new CompletableFuture<>();
    Context.CancellableContext stream = context.withCancellation();
    try {
      Context previous = stream.attach();
      try {
        synchronized (this) {
          heard = System.nanoTime();
          connection.async().watchFineTunes(view.request(), new Observer(backoff, done));
        }
      } finally {
        stream.detach(previous);
      }
      while (true) {
        try {
          return done.get(1, TimeUnit.SECONDS);
        } catch (java.util.concurrent.TimeoutException waiting) {
          synchronized (this) {
            // Not even a heartbeat: it is dead, whatever TCP believes.
            if (System.nanoTime() - heard > SILENCE_MS * 1_000_000)
              return GatewayException.of(Status.Code.UNAVAILABLE, "nothing was heard from the gateway for %d s", SILENCE_MS / 1000);
          }
        }
      }
    } catch (GatewayException error) {
      return error;
    } catch (InterruptedException | ExecutionException error) {
      return new ClientClosedException("interrupted");
    } finally {
      stream.cancel(null);
    }
  }

  private final class Observer implements StreamObserver<WatchFineTunesResponse> {
    private final Backoff backoff;
    private final CompletableFuture<GatewayException> done;

    Observer(Backoff backoff, CompletableFuture<GatewayException> done) {
      this.backoff = backoff;
      this.done = done;
    }

    @Override
    public void onNext(WatchFineTunesResponse response) {
      synchronized (SharedWatch.this) {
        if (ended || done.isDone()) return;
        heard = System.nanoTime();
        everHeard = true;
        if (!response.getResumeToken().isEmpty()) backoff.reset(); // Only a stream that gets somewhere ends the backing off.
        view.apply(response);
      }
    }

    @Override
    public void onError(Throwable error) {
      done.complete(GatewayException.of((StatusRuntimeException) error));
    }

    @Override
    public void onCompleted() {
      done.complete(null);
    }
  }
}
