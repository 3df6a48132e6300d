import { status as Code } from "@grpc/grpc-js";

import { ClosedError, GatewayError } from "./errors.js";
import { FineTune } from "./proto/segmind/finetune/v1/fine_tune.js";
import {
  type Change, Change_Type, Restart_Reason, WatchFineTunesRequest, type WatchFineTunesResponse,
} from "./proto/segmind/finetune/v1/fine_tune_service.js";

/**
 * - `snapshot`: a job as it was when the watch began.
 * - `synced`: all jobs that there were have been told; what follows is live.
 * - `created`: the job is new.
 * - `updated`: the job has changed, or now matches the filter.
 * - `left`: the job matches no longer; `fineTune` is how it was last seen.
 */
export type EventKind = "snapshot" | "synced" | "created" | "updated" | "left";

/** What a watch tells. The job is shared by all watches: do not change it. */
export type Event = { kind: "synced"; fineTune?: undefined } | { kind: Exclude<EventKind, "synced">; fineTune: FineTune };

const SYNCED = "";

/**
 * One local watcher: which jobs it wants, and what it has yet to be told. A slow one has one event a job waiting, never a growing queue:
 * a later change takes the place of an earlier one. `wake` is called after events were added.
 */
export class Subscriber {
  readonly #names?: Set<string>;
  readonly #matched = new Set<string>();
  /** The jobs that this watcher knows of. */
  readonly #told = new Set<string>();
  /** In order; the key of `synced` is "". */
  readonly #pending = new Map<string, Event>();
  #synced = false;
  #failed?: Error;

  constructor(names: Iterable<string>, private readonly where: ((job: FineTune) => boolean) | undefined, private readonly wake: () => void) {
    const wanted = new Set(names);
    if (wanted.size > 0) this.#names = wanted;
  }

  tell(kind: Exclude<EventKind, "synced">, fineTune: FineTune): void {
    const name = fineTune.name;
    if (this.#names && !this.#names.has(name)) return;
    if (this.where) {
      if (kind !== "left" && this.where(fineTune)) this.#matched.add(name);
      else if (this.#matched.delete(name)) kind = "left";
      else return;
    }
    const waiting = this.#pending.get(name);
    this.#pending.delete(name);
    const told = this.#told.has(name);
    if (kind === "left" && !told) return;
    if (kind !== "left" && told) {
      kind = "updated";
    } else if (waiting && kind === "updated") {
      // It takes the place of what would have made the job known; behind `synced` it is no part of the snapshot any more.
      kind = waiting.kind === "snapshot" && this.#pending.has(SYNCED) ? "created" : (waiting.kind as typeof kind);
    }
    this.#pending.set(name, { kind, fineTune });
    this.wake();
  }

  sync(): void {
    if (this.#synced) return;
    this.#synced = true;
    this.#pending.set(SYNCED, { kind: "synced" });
    this.wake();
  }

  end(error: Error): void {
    this.#failed = error;
    this.wake();
  }

  /** The next event, or undefined if there is none yet. Throws what ended the watch, after all events. */
  next(): Event | undefined {
    for (const [name, event] of this.#pending) {
      this.#pending.delete(name);
      if (event.kind === "left") this.#told.delete(name);
      else if (event.kind !== "synced") this.#told.add(name);
      return event;
    }
    if (this.#failed) throw this.#failed;
    return undefined;
  }
}

const byRevision = (jobs: Iterable<FineTune>) => [...jobs].sort((a, b) => (a.revision < b.revision ? -1 : a.revision > b.revision ? 1 : 0));

const same = (a: FineTune, b: FineTune) => Buffer.compare(FineTune.encode(a).finish(), FineTune.encode(b).finish()) === 0;

/**
 * What one stream knows, and who is told. What the gateway sends again after a restart is compared with what is known, so that no subscriber
 * is told anything twice. Nothing here does I/O.
 */
export class WatchView {
  #known = new Map<string, FineTune>();
  /** A snapshot that is being sent again, until it is complete. */
  #collected?: Map<string, FineTune>;
  /** Whether revisions of that snapshot and of what is known can be compared. */
  #sameHistory = false;
  #synced = false;
  #failed?: Error;
  #token = "";
  readonly #subscribers = new Set<Subscriber>();

  /** Tells a new subscriber what is known, and from now on what changes. */
  add(subscriber: Subscriber): void {
    if (this.#failed) return subscriber.end(this.#failed);
    this.#subscribers.add(subscriber);
    for (const job of byRevision(this.#known.values())) subscriber.tell("snapshot", job);
    if (this.#synced) subscriber.sync();
  }

  remove(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  get watched(): boolean {
    return this.#subscribers.size > 0;
  }

  /** For the next stream. */
  request(): WatchFineTunesRequest {
    if (this.#token === "" && (this.#known.size > 0 || this.#synced)) {
      // The gateway may be another one by now.
      this.#collected = new Map();
      this.#sameHistory = false;
    }
    return WatchFineTunesRequest.fromPartial({ resumeToken: this.#token });
  }

  apply(response: WatchFineTunesResponse): void {
    if (response.change) {
      this.#applyChange(response.change);
    } else if (response.restart) {
      this.#sameHistory = response.restart.reason === Restart_Reason.EXPIRED || response.restart.reason === Restart_Reason.TOO_SLOW;
      this.#collected = new Map();
      this.#token = "";
      return;
    } else if (response.synced || (response.resumeToken !== "" && !this.#collected)) {
      // After a resume the first heartbeat is as good as `synced`.
      this.#applySynced();
    }
    if (response.resumeToken !== "") this.#token = response.resumeToken;
  }

  #applyChange(change: Change): void {
    const job = change.fineTune;
    if (!job) return;
    const left = change.type === Change_Type.LEFT_FILTER;
    if (this.#collected) {
      if (left) this.#collected.delete(job.name);
      else this.#collected.set(job.name, job);
      return;
    }
    const known = this.#known.get(job.name);
    if (left) {
      if (this.#known.delete(job.name)) this.#tell("left", job);
      return;
    }
    if (known && job.revision !== 0n && job.revision <= known.revision) return; // A repetition.
    this.#known.set(job.name, job);
    if (change.type === Change_Type.SNAPSHOT) this.#tell("snapshot", job);
    else this.#tell(!known && change.type === Change_Type.CREATED ? "created" : "updated", job);
  }

  #applySynced(): void {
    if (this.#collected) this.#passOnDifferences();
    this.#synced = true;
    for (const subscriber of this.#subscribers) subscriber.sync();
  }

  #passOnDifferences(): void {
    const before = this.#known;
    this.#known = this.#collected ?? new Map();
    this.#collected = undefined;
    for (const [name, job] of before) if (!this.#known.has(name)) this.#tell("left", job);
    for (const job of byRevision(this.#known.values())) {
      const old = before.get(job.name);
      if (!old) this.#tell(this.#synced ? "created" : "snapshot", job);
      else if (this.#sameHistory && job.revision !== 0n ? job.revision !== old.revision : !same(job, old)) {
        this.#tell(this.#synced ? "updated" : "snapshot", job);
      }
    }
  }

  #tell(kind: Exclude<EventKind, "synced">, job: FineTune): void {
    for (const subscriber of this.#subscribers) subscriber.tell(kind, job);
  }

  /** A stream ended so. True: open another one. False: trying again cannot cure it; all subscribers were told. */
  failed(error: Error, everHeard: boolean): boolean {
    if (error instanceof ClosedError) {
      this.end(error);
      return false;
    }
    if (!(error instanceof GatewayError)) return true;
    if (error.reason === "RESUME_TOKEN_INVALID" && this.#token !== "") {
      this.#token = ""; // Of a gateway that lost its store: what is known is compared with a new snapshot.
      return true;
    }
    const fatal = [Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNIMPLEMENTED, Code.OUT_OF_RANGE, Code.FAILED_PRECONDITION];
    // After it worked once, UNAUTHENTICATED is a token or a certificate that is being replaced.
    if (!fatal.includes(error.code) && (error.code !== Code.UNAUTHENTICATED || everHeard)) return true;
    this.end(error);
    return false;
  }

  end(error: Error): void {
    this.#failed = error;
    for (const subscriber of this.#subscribers) subscriber.end(error);
    this.#subscribers.clear();
  }
}
