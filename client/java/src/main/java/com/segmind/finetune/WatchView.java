package com.segmind.finetune;

import com.segmind.finetune.v1.Change;
import com.segmind.finetune.v1.FineTune;
import com.segmind.finetune.v1.Restart;
import com.segmind.finetune.v1.WatchFineTunesRequest;
import com.segmind.finetune.v1.WatchFineTunesResponse;
import io.grpc.Status;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What one stream knows, and who is told. What the gateway sends again after a restart is compared with what is known, so that no subscriber is
 * told anything twice. Nothing here does I/O. Its owner locks.
 */
final class WatchView {
  private Map<String, FineTune> known = new HashMap<>();
  /** A snapshot that is being sent again, until it is complete. */
  private Map<String, FineTune> collected;
  /** Whether revisions of that snapshot and of what is known can be compared. */
  private boolean sameHistory;
  private boolean synced;
  private RuntimeException failed;
  private String token = "";
  private final Set<Subscriber> subscribers = new LinkedHashSet<>();

  /** Tells a new subscriber what is known, and from now on what changes. */
  void add(Subscriber subscriber) {
    if (failed != null) {
      subscriber.end(failed);
      return;
    }
    subscribers.add(subscriber);
    byRevision(known).forEach(job -> subscriber.tell(Event.Kind.SNAPSHOT, job));
    if (synced) subscriber.sync();
  }

  void remove(Subscriber subscriber) {
    subscribers.remove(subscriber);
  }

  boolean watched() {
    return !subscribers.isEmpty();
  }

  private static List<FineTune> byRevision(Map<String, FineTune> jobs) {
    return jobs.values().stream().sorted(Comparator.comparing(FineTune::getRevision, Long::compareUnsigned)).toList();
  }

  /** For the next stream. */
  WatchFineTunesRequest request() {
    if (token.isEmpty() && (!known.isEmpty() || synced)) {
      // The gateway may be another one by now.
      collected = new HashMap<>();
      sameHistory = false;
    }
    return WatchFineTunesRequest.newBuilder().setResumeToken(token).build();
  }

  void apply(WatchFineTunesResponse response) {
    switch (response.getEventCase()) {
      case CHANGE -> applyChange(response.getChange());
      case RESTART -> {
        Restart.Reason reason = response.getRestart().getReason();
        sameHistory = reason == Restart.Reason.EXPIRED || reason == Restart.Reason.TOO_SLOW;
        collected = new HashMap<>();
        token = "";
        return;
      }
      case SYNCED -> applySynced();
      default -> {
        // After a resume the first heartbeat is as good as SYNCED.
        if (!response.getResumeToken().isEmpty() && collected == null) applySynced();
      }
    }
    if (!response.getResumeToken().isEmpty()) token = response.getResumeToken();
  }

  private void applyChange(Change change) {
    FineTune job = change.getFineTune();
    boolean left = change.getType() == Change.Type.LEFT_FILTER;
    if (collected != null) {
      if (left) collected.remove(job.getName());
      else collected.put(job.getName(), job);
      return;
    }
    if (left) {
      if (known.remove(job.getName()) != null) tell(Event.Kind.LEFT, job);
      return;
    }
    FineTune before = known.get(job.getName());
    boolean repeated = before != null && job.getRevision() != 0 && Long.compareUnsigned(job.getRevision(), before.getRevision()) <= 0;
    if (repeated) return;
    known.put(job.getName(), job);
    if (change.getType() == Change.Type.SNAPSHOT) tell(Event.Kind.SNAPSHOT, job);
    else tell(before == null && change.getType() == Change.Type.CREATED ? Event.Kind.CREATED : Event.Kind.UPDATED, job);
  }

  private void applySynced() {
    if (collected != null) passOnDifferences();
    synced = true;
    subscribers.forEach(Subscriber::sync);
  }

  private void passOnDifferences() {
    Map<String, FineTune> before = known;
    known = collected;
    collected = null;
    before.forEach((name, job) -> {
      if (!known.containsKey(name)) tell(Event.Kind.LEFT, job);
    });
    for (FineTune job : byRevision(known)) {
      FineTune old = before.get(job.getName());
      if (old == null) {
        tell(synced ? Event.Kind.CREATED : Event.Kind.SNAPSHOT, job);
      } else if (sameHistory && job.getRevision() != 0 ? job.getRevision() != old.getRevision() : !job.equals(old)) {
        tell(synced ? Event.Kind.UPDATED : Event.Kind.SNAPSHOT, job);
      }
    }
  }

  private void tell(Event.Kind kind, FineTune job) {
    subscribers.forEach(subscriber -> subscriber.tell(kind, job));
  }

  /** A stream ended so. True: open another one. False: trying again cannot cure it; all subscribers were told. */
  boolean failed(GatewayException error, boolean everHeard) {
    if (error.reason().equals("RESUME_TOKEN_INVALID") && !token.isEmpty()) {
      token = ""; // Of a gateway that lost its store: what is known is compared with a new snapshot.
      return true;
    }
    boolean fatal = error instanceof ClientClosedException || switch (error.code()) {
      case INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED, OUT_OF_RANGE, FAILED_PRECONDITION -> true;
      default -> false;
    };
    // After it worked once, UNAUTHENTICATED is a token or a certificate that is being replaced.
    if (!fatal && (error.code() != Status.Code.UNAUTHENTICATED || everHeard)) return true;
    end(error);
    return false;
  }

  void end(RuntimeException error) {
    failed = error;
    subscribers.forEach(subscriber -> subscriber.end(error));
    subscribers.clear();
  }
}
