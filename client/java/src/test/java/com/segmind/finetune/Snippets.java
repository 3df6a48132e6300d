package com.segmind.finetune;

import com.segmind.finetune.v1.CreateFineTuneRequest;
import com.segmind.finetune.v1.FineTune;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** The snippets of the README, so that they are compiled; a test compares them. Nothing here runs. */
final class Snippets {
  private final FineTuneGateway gateway = null;

  void submitting(FineTune job) {
    String requestId = UUID.randomUUID().toString(); // Kept before the call.
    Submission made =
        gateway.submit(CreateFineTuneRequest.newBuilder().setFineTune(job).setRequestId(requestId).build(), Duration.ofMinutes(1));
    System.out.println(made.unknown());
  }

  void watching() {
    try (Watch watch = gateway.watch(job -> job.getLabelsOrDefault("team", "").equals("search"))) {
      for (Event event : watch) {
        if (event.kind() == Event.Kind.SYNCED) System.out.println("live from here on");
        else System.out.println(event.kind() + " " + event.fineTune().getDisplayName() + " " + event.fineTune().getState());
      }
    }
  }

  void listing() {
    for (FineTune job : gateway.list("state = AVAILABLE AND labels.team = \"search\"")) {
      gateway.updateLabels(job.getName(), Map.of("stage", "prod"), List.of("draft"));
    }
  }

  void failing() {
    try {
      gateway.submit(FineTune.newBuilder().setDisplayName("cats").build());
    } catch (GatewayException error) {
      error.violations().forEach(violation -> System.out.println(violation.field() + ": " + violation.description()));
      System.out.println(error.reason() + " " + error.retryDelay() + " " + error.requestId());
    }
  }
}
