package com.segmind.finetune;

import com.segmind.finetune.v1.FineTune;
import java.time.Duration;
import java.util.Collection;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * A local watcher: iterates over events, from one thread at a time. See {@link FineTuneGateway#watch}. Any thread may close it, which ends an
 * iteration.
 */
public final class Watch implements Iterable<Event>, AutoCloseable {
  private final SharedWatch shared;
  private final Subscriber subscriber;
  /** Guarded by shared, which is notified of events and of the end. */
  private boolean closed;

  Watch(SharedWatch shared, Collection<String> names, Predicate<FineTune> where) {
    this.shared = shared;
    this.subscriber = new Subscriber(names, where, shared::notifyAll);
    shared.add(subscriber);
  }

  /** The next event; empty once the watch is closed. Throws what ended the watch, which is nothing that trying again could cure. */
  public Optional<Event> next() {
    return next(Duration.ofDays(36_500));
  }

  /** The next event; empty also when there was none for so long. */
  public Optional<Event> next(Duration timeout) {
    long end = System.nanoTime() + timeout.toMillis() * 1_000_000;
    synchronized (shared) {
      while (!closed) {
        Event event = subscriber.next();
        if (event != null) return Optional.of(event);
        long left = end - System.nanoTime();
        if (left <= 0) break;
        try {
          shared.wait(1 + left / 1_000_000);
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          throw new ClientClosedException("interrupted");
        }
      }
      return Optional.empty();
    }
  }

  @Override
  public Iterator<Event> iterator() {
    return new Iterator<>() {
      private Optional<Event> next = Optional.empty();

      @Override
      public boolean hasNext() {
        if (next.isEmpty()) next = Watch.this.next();
        return next.isPresent();
      }

      @Override
      public Event next() {
        if (!hasNext()) throw new NoSuchElementException();
        Event event = next.get();
        next = Optional.empty();
        return event;
      }
    };
  }

  @Override
  public void close() {
    synchronized (shared) {
      if (closed) return;
      closed = true;
      shared.notifyAll();
    }
    shared.remove(subscriber);
  }
}
