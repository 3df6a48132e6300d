import { status as Code } from "@grpc/grpc-js";

import { Backoff, sleep } from "./backoff.js";
import type { Connection } from "./connection.js";
import { ClosedError, GatewayError, typed } from "./errors.js";
import type { FineTune } from "./proto/segmind/finetune/v1/fine_tune.js";
import { type Event, Subscriber, WatchView } from "./watching.js";

/** A stream on which nothing came for that long is opened anew. The gateway sends a heartbeat every 15 s. */
const SILENCE_MS = 45_000;

export interface WatchOptions {
  /** Only these jobs. */
  names?: Iterable<string>;
  /** Only jobs for which it is true, and `left` when one stops being so. */
  where?: (job: FineTune) => boolean;
  /** Ends the watch, like close(). */
  signal?: AbortSignal;
}

/** A local watcher: an asynchronous iterator over events. See Client.watch. */
export class Watch implements AsyncIterableIterator<Event> {
  readonly #subscriber: Subscriber;
  #closed = false;
  #wake?: () => void;

  /** @internal */
  constructor(private readonly shared: SharedWatch, options: WatchOptions) {
    this.#subscriber = new Subscriber(options.names ?? [], options.where, () => this.#wake?.());
    shared.add(this.#subscriber);
    if (options.signal?.aborted) this.close();
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Event, undefined>> {
    while (!this.#closed) {
      const value = this.#subscriber.next();
      if (value) return { value, done: false };
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    return { value: undefined, done: true };
  }

  /** Called when a `for await` is left. */
  async return(): Promise<IteratorResult<Event, undefined>> {
    this.close();
    return { value: undefined, done: true };
  }

  /** Ends the watch, and with the last one of a client its stream. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake?.();
    this.shared.remove(this.#subscriber);
  }
}

/** The one stream behind all watches of a client. Opened by the first watch; ends with the last. */
export class SharedWatch {
  readonly #view = new WatchView();
  readonly #stop = new AbortController();
  #everHeard = false;
  ended = false;

  constructor(private readonly connection: Connection) {
    void this.#run();
  }

  add(subscriber: Subscriber): void {
    this.#view.add(subscriber);
  }

  remove(subscriber: Subscriber): void {
    this.#view.remove(subscriber);
    if (!this.#view.watched) this.close();
  }

  close(): void {
    this.ended = true;
    this.#view.end(new ClosedError());
    this.#stop.abort(new ClosedError());
  }

  async #run(): Promise<void> {
    const backoff = new Backoff();
    await null; // The first watcher is added right after the construction.
    while (!this.ended) {
      const error = await this.#read(backoff).then(() => undefined, typed);
      if (this.ended) return;
      if (error && !this.#view.failed(error, this.#everHeard)) {
        this.ended = true;
        return;
      }
      await sleep(backoff.next(error instanceof GatewayError ? error.retryDelayMs : undefined), this.#stop.signal).catch(() => undefined);
    }
  }

  /** One stream, to its end. */
  #read(backoff: Backoff): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream = this.connection.client().watchFineTunes(this.#view.request(), this.connection.metadata());
      const stop = () => stream.cancel();
      let silent = false;
      const timer = setTimeout(() => {
        // Not even a heartbeat: it is dead, whatever TCP believes.
        silent = true;
        stream.cancel();
      }, SILENCE_MS);
      const settle = (error?: Error) => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener("abort", stop);
        if (silent) reject(new GatewayError(Code.UNAVAILABLE, `nothing was heard from the gateway for ${SILENCE_MS / 1000} s`));
        else if (error) reject(error);
        else resolve();
      };
      this.#stop.signal.addEventListener("abort", stop, { once: true });
      if (this.ended) stream.cancel();
      stream.on("data", (response) => {
        timer.refresh();
        this.#everHeard = true;
        if (response.resumeToken !== "") backoff.reset(); // Only a stream that gets somewhere ends the backing off.
        if (!this.ended) this.#view.apply(response);
      });
      stream.on("end", () => settle());
      stream.on("error", (error) => settle(error));
    });
  }
}
