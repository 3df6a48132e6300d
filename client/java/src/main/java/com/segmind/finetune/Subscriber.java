package com.segmind.finetune;

import com.segmind.finetune.v1.FineTune;
import java.util.Collection;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/**
 * One local watcher: which jobs it wants, and what it has yet to be told. A slow one has one event a job waiting, never a growing queue: a later
 * change takes the place of an earlier one. {@code wake} runs after events were added. Its owner locks.
 */
final class Subscriber {
  private static final String SYNCED = "";

  private final Set<String> names;
  private final Predicate<FineTune> where;
  private final Runnable wake;
  private final Set<String> matched = new HashSet<>();
  /** The jobs that this watcher knows of. */
  private final Set<String> told = new HashSet<>();
  /** In order; the key of SYNCED is "". */
  private final Map<String, Event> pending = new LinkedHashMap<>();
  private boolean synced;
  private RuntimeException failed;

  Subscriber(Collection<String> names, Predicate<FineTune> where, Runnable wake) {
    this.names = Set.copyOf(names);
    this.where = where;
    this.wake = wake;
  }

  void tell(Event.Kind kind, FineTune job) {
    String name = job.getName();
    if (!names.isEmpty() && !names.contains(name)) return;
    if (where != null) {
      if (kind != Event.Kind.LEFT && where.test(job)) matched.add(name);
      else if (matched.remove(name)) kind = Event.Kind.LEFT;
      else return;
    }
    Event waiting = pending.remove(name);
    if (kind == Event.Kind.LEFT) {
      if (!told.contains(name)) return;
    } else if (told.contains(name)) {
      kind = Event.Kind.UPDATED;
    } else if (waiting != null && kind == Event.Kind.UPDATED) {
      // It takes the place of what would have made the job known; behind SYNCED it is no part of the snapshot any more.
      boolean late = waiting.kind() == Event.Kind.SNAPSHOT && pending.containsKey(SYNCED);
      kind = late ? Event.Kind.CREATED : waiting.kind();
    }
    pending.put(name, new Event(kind, job));
    wake.run();
  }

  void sync() {
    if (synced) return;
    synced = true;
    pending.put(SYNCED, new Event(Event.Kind.SYNCED, null));
    wake.run();
  }

  void end(RuntimeException error) {
    failed = error;
    wake.run();
  }

  /** The next event, or null if there is none yet. Throws what ended the watch, after all events. */
  Event next() {
    Iterator<Map.Entry<String, Event>> first = pending.entrySet().iterator();
    if (first.hasNext()) {
      Map.Entry<String, Event> entry = first.next();
      String name = entry.getKey();
      Event event = entry.getValue();
      first.remove();
      if (event.kind() == Event.Kind.LEFT) told.remove(name);
      else if (event.fineTune() != null) told.add(name);
      return event;
    }
    if (failed != null) throw failed;
    return null;
  }
}
