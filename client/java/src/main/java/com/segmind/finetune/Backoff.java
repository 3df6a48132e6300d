package com.segmind.finetune;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The waits between attempts: exponential, spread by up to a quarter either way, so that clients that lost one server do not return together.
 * Not thread-safe.
 */
final class Backoff {
  private final long initialMs;
  private final long maximumMs;
  private long nextMs;

  Backoff(long initialMs, long maximumMs) {
    this.initialMs = initialMs;
    this.maximumMs = maximumMs;
    this.nextMs = initialMs;
  }

  /** Milliseconds; at least what is asked, which is what the server wants. */
  long next(Optional<Duration> asked) {
    double own = nextMs * ThreadLocalRandom.current().nextDouble(0.75, 1.25);
    nextMs = Math.min(maximumMs, 2 * nextMs);
    double wanted = asked.map(delay -> delay.toNanos() / 1e6 * ThreadLocalRandom.current().nextDouble(1.0, 1.25)).orElse(0.0);
    return (long) Math.ceil(Math.max(own, wanted));
  }

  /** After a success. */
  void reset() {
    nextMs = initialMs;
  }
}
