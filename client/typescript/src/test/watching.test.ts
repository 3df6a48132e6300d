// The view of a watch, without a network: what is told, how often, and in which order.
import assert from "node:assert/strict";
import { test } from "node:test";

import { status as Code } from "@grpc/grpc-js";

import { GatewayError } from "../errors.js";
import { FineTune, FineTune_State as State } from "../proto/segmind/finetune/v1/fine_tune.js";
import { Change_Type as Type, Restart_Reason as Reason, WatchFineTunesResponse } from "../proto/segmind/finetune/v1/fine_tune_service.js";
import { Subscriber, WatchView } from "../watching.js";

const change = (type: Type, name: string, revision: number, state = State.QUEUED) => WatchFineTunesResponse.fromPartial({
  change: { type, fineTune: { name, revision: BigInt(revision), state } }, resumeToken: type === Type.SNAPSHOT ? "" : `t${revision}`,
});
const synced = (revision: number) => WatchFineTunesResponse.fromPartial({ synced: {}, resumeToken: `t${revision}` });
const restart = (reason: Reason) => WatchFineTunesResponse.fromPartial({ restart: { reason } });

function subscribed(view: WatchView, names: string[] = [], where?: (job: FineTune) => boolean): Subscriber {
  const subscriber = new Subscriber(names, where, () => undefined);
  view.add(subscriber);
  return subscriber;
}

function told(subscriber: Subscriber): string[] {
  const all: string[] = [];
  for (let event = subscriber.next(); event; event = subscriber.next()) {
    all.push(event.kind === "synced" ? "synced" : `${event.kind} ${event.fineTune.name}${event.fineTune.revision}`);
  }
  return all;
}

const feed = (view: WatchView, ...responses: WatchFineTunesResponse[]) => responses.forEach((response) => view.apply(response));
const begin = (view: WatchView) => feed(view, change(Type.SNAPSHOT, "a", 1), change(Type.SNAPSHOT, "b", 2), synced(2));

test("a snapshot, then synced, then changes, none twice", () => {
  const view = new WatchView();
  const subscriber = subscribed(view);
  begin(view);
  assert.deepEqual(told(subscriber), ["snapshot a1", "snapshot b2", "synced"]);
  feed(view, change(Type.UPDATED, "a", 3), change(Type.UPDATED, "a", 3), change(Type.CREATED, "c", 4));
  assert.deepEqual(told(subscriber), ["updated a3", "created c4"]);
  assert.deepEqual(told(subscribed(view, ["b"])), ["snapshot b2", "synced"]);
  assert.equal(view.request().resumeToken, "t4");
});

test("a slow subscriber has one event a job waiting", () => {
  const view = new WatchView();
  const subscriber = subscribed(view);
  begin(view);
  told(subscriber);
  for (let revision = 3; revision < 1000; revision++) feed(view, change(Type.UPDATED, "ab"[revision % 2]!, revision));
  assert.deepEqual(told(subscriber), ["updated a998", "updated b999"]);
});

test("a restart tells the differences alone", () => {
  const view = new WatchView();
  const subscriber = subscribed(view);
  begin(view);
  told(subscriber);
  for (const reason of [Reason.EXPIRED, Reason.OTHER_HISTORY]) {
    feed(view, restart(reason));
    assert.equal(view.request().resumeToken, "");
    begin(view);
    assert.deepEqual(told(subscriber), []);
  }
  feed(view, restart(Reason.TOO_SLOW), change(Type.SNAPSHOT, "b", 7), change(Type.SNAPSHOT, "c", 8), synced(8));
  assert.deepEqual(told(subscriber), ["left a1", "updated b7", "created c8"]);
});

test("what trying again cannot cure ends the watch", () => {
  const view = new WatchView();
  const subscriber = subscribed(view);
  assert.equal(view.failed(new GatewayError(Code.UNAVAILABLE, "away"), false), true);
  assert.equal(view.failed(new GatewayError(Code.UNAUTHENTICATED, "token"), true), true);
  assert.equal(view.failed(new GatewayError(Code.UNAUTHENTICATED, "token"), false), false);
  assert.throws(() => subscriber.next(), GatewayError);
});

test("random histories leave every subscriber with the truth", () => {
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  for (let history = 0; history < 300; history++) {
    const view = new WatchView();
    const truth = new Map<string, FineTune>();
    const training = (job: FineTune) => job.state === State.TRAINING;
    const subscribers = [subscribed(view), subscribed(view, [], training)];
    const known = subscribers.map(() => new Map<string, bigint>());
    const read = () => subscribers.forEach((subscriber, i) => {
      for (let event = subscriber.next(); event; event = subscriber.next()) {
        if (event.kind === "synced") continue;
        const { name, revision } = event.fineTune;
        if (event.kind === "left") {
          assert.ok(known[i]!.delete(name), `${name} left and was never told`);
        } else {
          assert.ok(revision > (known[i]!.get(name) ?? 0n), `${name} went back`);
          known[i]!.set(name, revision);
        }
      }
    });
    feed(view, synced(0));
    let revision = 0;
    for (let step = 0; step < 60; step++) {
      const dice = random();
      if (dice < 0.8) {
        const name = "abcdef"[Math.floor(random() * 6)]!;
        const response = change(truth.has(name) ? Type.UPDATED : Type.CREATED, name, ++revision, random() < 0.5 ? State.QUEUED : State.TRAINING);
        truth.set(name, response.change!.fineTune!);
        feed(view, response);
      } else if (dice < 0.9) {
        feed(view, restart(Reason.EXPIRED));
        for (const job of truth.values()) feed(view, change(Type.SNAPSHOT, job.name, Number(job.revision), job.state));
        feed(view, synced(revision));
      }
      if (random() < 0.3) read();
    }
    read();
    assert.deepEqual(new Map([...known[0]!].sort()), new Map([...truth].map(([name, job]) => [name, job.revision] as const).sort()));
    assert.deepEqual(
      new Map([...known[1]!].sort()), new Map([...truth].filter(([, job]) => training(job)).map(([name, job]) => [name, job.revision] as const).sort()));
  }
});
