package com.segmind.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.segmind.finetune.v1.Change;
import com.segmind.finetune.v1.FineTune;
import com.segmind.finetune.v1.Restart;
import com.segmind.finetune.v1.Synced;
import com.segmind.finetune.v1.WatchFineTunesResponse;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The view of a watch, without a network: what is told, how often, and in which order. */
class WatchViewTest {
  private final WatchView view = new WatchView();

  private static WatchFineTunesResponse change(Change.Type type, String name, long revision, FineTune.State state) {
    return WatchFineTunesResponse.newBuilder().setResumeToken(type == Change.Type.SNAPSHOT ? "" : "t" + revision)
        .setChange(Change.newBuilder().setType(type).setFineTune(FineTune.newBuilder().setName(name).setRevision(revision).setState(state))).build();
  }

  private static WatchFineTunesResponse change(Change.Type type, String name, long revision) {
    return change(type, name, revision, FineTune.State.QUEUED);
  }

  private static WatchFineTunesResponse synced(long revision) {
    return WatchFineTunesResponse.newBuilder().setResumeToken("t" + revision).setSynced(Synced.getDefaultInstance()).build();
  }

  private static WatchFineTunesResponse restart(Restart.Reason reason) {
    return WatchFineTunesResponse.newBuilder().setRestart(Restart.newBuilder().setReason(reason)).build();
  }

  private static void feed(WatchView view, WatchFineTunesResponse... responses) {
    for (WatchFineTunesResponse response : responses) view.apply(response);
  }

  private static Subscriber subscribed(WatchView view, Predicate<FineTune> where, String... names) {
    Subscriber subscriber = new Subscriber(List.of(names), where, () -> {});
    view.add(subscriber);
    return subscriber;
  }

  private static List<String> told(Subscriber subscriber) {
    List<String> all = new ArrayList<>();
    for (Event event = subscriber.next(); event != null; event = subscriber.next())
      all.add(event.kind() + (event.fineTune() == null ? "" : " " + event.fineTune().getName() + event.fineTune().getRevision()));
    return all;
  }

  private void begin() {
    feed(view, change(Change.Type.SNAPSHOT, "a", 1), change(Change.Type.SNAPSHOT, "b", 2), synced(2));
  }

  @Test
  void aSnapshotThenSyncedThenChangesNoneTwice() {
    Subscriber subscriber = subscribed(view, null);
    begin();
    assertEquals(List.of("SNAPSHOT a1", "SNAPSHOT b2", "SYNCED"), told(subscriber));
    feed(view, change(Change.Type.UPDATED, "a", 3), change(Change.Type.UPDATED, "a", 3), change(Change.Type.CREATED, "c", 4));
    assertEquals(List.of("UPDATED a3", "CREATED c4"), told(subscriber));
    assertEquals(List.of("SNAPSHOT b2", "SYNCED"), told(subscribed(view, null, "b")));
    assertEquals("t4", view.request().getResumeToken());
  }

  @Test
  void aSlowSubscriberHasOneEventAJobWaiting() {
    Subscriber subscriber = subscribed(view, null);
    begin();
    told(subscriber);
    for (int revision = 3; revision < 1000; revision++) feed(view, change(Change.Type.UPDATED, revision % 2 == 0 ? "a" : "b", revision));
    assertEquals(List.of("UPDATED a998", "UPDATED b999"), told(subscriber));
  }

  @Test
  void aRestartTellsTheDifferencesAlone() {
    Subscriber subscriber = subscribed(view, null);
    begin();
    told(subscriber);
    for (Restart.Reason reason : List.of(Restart.Reason.EXPIRED, Restart.Reason.OTHER_HISTORY)) {
      feed(view, restart(reason));
      assertEquals("", view.request().getResumeToken());
      begin();
      assertEquals(List.of(), told(subscriber));
    }
    feed(view, restart(Restart.Reason.TOO_SLOW), change(Change.Type.SNAPSHOT, "b", 7), change(Change.Type.SNAPSHOT, "c", 8), synced(8));
    assertEquals(List.of("LEFT a1", "UPDATED b7", "CREATED c8"), told(subscriber));
  }

  @Test
  void whatTryingAgainCannotCureEndsTheWatch() {
    Subscriber subscriber = subscribed(view, null);
    assertTrue(view.failed(GatewayException.of(Status.Code.UNAVAILABLE, "away"), false));
    assertTrue(view.failed(GatewayException.of(Status.Code.UNAUTHENTICATED, "token"), true));
    assertFalse(view.failed(GatewayException.of(Status.Code.UNAUTHENTICATED, "token"), false));
    assertThrows(GatewayException.class, subscriber::next);
  }

  @Test
  void randomHistoriesLeaveEverySubscriberWithTheTruth() {
    Predicate<FineTune> training = job -> job.getState() == FineTune.State.TRAINING;
    for (int seed = 0; seed < 300; seed++) {
      Random chance = new Random(seed);
      WatchView view = new WatchView();
      Map<String, FineTune> truth = new HashMap<>();
      Subscriber all = subscribed(view, null);
      Subscriber some = subscribed(view, training);
      Map<Subscriber, Map<String, Long>> known = Map.of(all, new HashMap<>(), some, new HashMap<>());
      feed(view, synced(0));
      long revision = 0;
      for (int step = 0; step < 60; step++) {
        double dice = chance.nextDouble();
        if (dice < 0.8) {
          String name = "abcdef".substring(chance.nextInt(6)).substring(0, 1);
          FineTune.State state = chance.nextBoolean() ? FineTune.State.QUEUED : FineTune.State.TRAINING;
          WatchFineTunesResponse response = change(truth.containsKey(name) ? Change.Type.UPDATED : Change.Type.CREATED, name, ++revision, state);
          truth.put(name, response.getChange().getFineTune());
          feed(view, response);
        } else if (dice < 0.9) {
          feed(view, restart(Restart.Reason.EXPIRED));
          truth.values().forEach(job -> feed(view, change(Change.Type.SNAPSHOT, job.getName(), job.getRevision(), job.getState())));
          feed(view, synced(revision));
        }
        if (chance.nextDouble() < 0.3) known.forEach(WatchViewTest::read);
      }
      known.forEach(WatchViewTest::read);
      assertEquals(revisions(truth, job -> true), known.get(all));
      assertEquals(revisions(truth, training), known.get(some));
    }
  }

  private static Map<String, Long> revisions(Map<String, FineTune> jobs, Predicate<FineTune> where) {
    return jobs.values().stream().filter(where).collect(Collectors.toMap(FineTune::getName, FineTune::getRevision));
  }

  private static void read(Subscriber subscriber, Map<String, Long> seen) {
    for (Event event = subscriber.next(); event != null; event = subscriber.next()) {
      if (event.kind() == Event.Kind.SYNCED) continue;
      String name = event.fineTune().getName();
      if (event.kind() == Event.Kind.LEFT) {
        assertTrue(seen.remove(name) != null, name + " left and was never told");
      } else {
        assertTrue(event.fineTune().getRevision() > seen.getOrDefault(name, 0L), name + " went back");
        seen.put(name, event.fineTune().getRevision());
      }
    }
  }
}
