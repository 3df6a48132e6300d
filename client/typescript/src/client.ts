import { status as Code, type CallOptions, type ClientUnaryCall, type Metadata, type ServiceError } from "@grpc/grpc-js";
import { randomUUID } from "node:crypto";

import { Backoff, sleep } from "./backoff.js";
import type { Settings } from "./channel.js";
import { Connection } from "./connection.js";
import { ClosedError, GatewayError, mayBeOutOfReach, typed, WaitTimeoutError, worthRepeating } from "./errors.js";
import { type FineTuneFields, hasReached, isTerminal, type StateLike, stateName, stateOf } from "./jobs.js";
import { FineTune, FineTune_State as State, FineTune_Visibility as Visibility } from "./proto/segmind/finetune/v1/fine_tune.js";
import {
  CreateFineTuneRequest, CreateUploadUrlRequest, type Dataset, FineTuneServiceClient, FineTuneView, type GatewayStatus, GetFineTuneRequest,
  GetGatewayStatusRequest, ListFineTunesRequest, UpdateFineTuneRequest, type UploadUrl, WaitFineTuneRequest, type WaitFineTuneResponse,
} from "./proto/segmind/finetune/v1/fine_tune_service.js";
import { DatasetFile, type Download, DownloadProtocol, PartialFile, TRANSFER_ATTEMPTS } from "./transfers.js";
import { SharedWatch, Watch, type WatchOptions } from "./watch.js";

export type { Settings } from "./channel.js";
export type { Download } from "./transfers.js";
export type { WatchOptions } from "./watch.js";

/** `timeoutMs`: when the call is given up. `signal`: gives it up earlier. */
interface Bounds {
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface SubmitOptions extends Bounds {
  /** A UUID that was kept before the call, to go on after a crash; one is made without. */
  requestId?: string;
  /** Check everything, and submit nothing. */
  validateOnly?: boolean;
}

/** A job that was submitted. */
export interface Submission {
  fineTune: FineTune;
  /** The job's name. */
  name: string;
  /** Names the submission. */
  requestId: string;
  /**
   * Nobody knows yet whether Segmind took the job (SUBMIT_UNKNOWN). The gateway finds out: wait for the job or watch it, and never submit it
   * again under another requestId.
   */
  unknown: boolean;
}

export interface GetOptions extends Bounds {
  /** How old what is told may be; 0 asks Segmind now. */
  maxStalenessMs?: number;
}

export interface ListOptions extends Bounds {
  filter?: string;
  orderBy?: string;
  pageSize?: number;
  /** With transitions and model information. */
  full?: boolean;
}

/** What is not given stays as it is. */
export interface Changes {
  visibility?: keyof typeof Visibility;
  labels?: Record<string, string>;
  removeLabels?: Iterable<string>;
  /** If set, must be the job's current one (ETAG_MISMATCH). */
  etag?: string;
}

export interface WaitOptions {
  /** WaitTimeoutError after that; without one it waits for ever. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

type Progress = (done: number, total: number) => void;

export interface UploadOptions {
  /** Whether anyone may read the file. FAST_FLUX needs it. */
  publicRead?: boolean;
  /** What it is called at its other end. */
  fileName?: string;
  /** Send a zip that Segmind is likely to refuse. */
  force?: boolean;
  onProgress?: Progress;
  signal?: AbortSignal;
}

export interface DownloadOptions {
  onProgress?: Progress;
  signal?: AbortSignal;
}

/** A longer wait is made of several calls, so that one that was lost on its way is noticed. */
const WAIT_SLICE_MS = 600_000;
/** What a call may take beyond the time that it waits. */
const WAIT_GRACE_MS = 30_000;

/**
 * A client of the gateway at `target`: HOST:PORT, or a gRPC name such as dns:///finetune-gateway:50051. Throws for settings that cannot work. It
 * does not connect: the first call does, and waits for a gateway that is away until its own timeout.
 */
export function connect(target: string, settings: Settings = {}): Client {
  return new Client(target, settings);
}

type Unary<Q, A> = (
  request: Q, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, answer: A) => void) => ClientUnaryCall;

/** One gateway. A call that fails rejects with a GatewayError. */
export class Client {
  readonly #connection: Connection;
  readonly #closing = new AbortController();
  #watch?: SharedWatch;

  constructor(target: string, settings: Settings = {}) {
    this.#connection = new Connection(target, settings);
  }

  /** Ends all watches, all calls under way, and the connection. */
  close(): void {
    this.#watch?.close();
    this.#closing.abort(new ClosedError());
    this.#connection.close();
  }

  #call<Q, A>(method: (client: FineTuneServiceClient) => Unary<Q, A>, request: Q, bounds: Bounds, defaultMs: number): Promise<A> {
    return new Promise((resolve, reject) => {
      const client = this.#connection.client();
      const signals = [bounds.signal, this.#closing.signal];
      for (const signal of signals) if (signal?.aborted) return reject(signal.reason);
      const stop = () => call.cancel();
      const began = performance.now();
      const call = method(client).call(
        client, request, this.#connection.metadata(), { deadline: Date.now() + (bounds.timeoutMs ?? defaultMs) }, (error, answer) => {
          for (const signal of signals) signal?.removeEventListener("abort", stop);
          if (!error) {
            this.#connection.answered(client);
            return resolve(answer);
          }
          if (this.#closing.signal.aborted) return reject(new ClosedError());
          if (bounds.signal?.aborted) return reject(bounds.signal.reason);
          const failed = typed(error);
          if (!mayBeOutOfReach(failed)) return reject(failed);
          this.#connection.whyFailed(client, performance.now() - began).then((why) => {
            failed.message = why ?? failed.message;
            reject(failed);
          }, reject);
        });
      for (const signal of signals) signal?.addEventListener("abort", stop, { once: true });
    });
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleep(ms, this.#signal(signal));
  }

  /** That of the caller, and of the closing. */
  #signal(signal?: AbortSignal): AbortSignal {
    return signal ? anyOf(signal, this.#closing.signal) : this.#closing.signal;
  }

  /**
   * Submits a job: one requestId makes at most one job, whatever fails. It makes one, and repeats the call with it while the gateway is out
   * of reach, until `timeoutMs` (a minute). The error of one that failed has the requestId to repeat it with.
   */
  async submit(fineTune: FineTuneFields, options: SubmitOptions = {}): Promise<Submission> {
    const requestId = options.requestId ?? (options.validateOnly ? "" : randomUUID());
    const request = CreateFineTuneRequest.fromPartial({ fineTune, requestId, validateOnly: options.validateOnly });
    const deadline = performance.now() + (options.timeoutMs ?? 60_000);
    const backoff = new Backoff(250, 5_000);
    for (;;) {
      try {
        const left = Math.max(1, deadline - performance.now());
        const job = await this.#call((client) => client.createFineTune, request, { signal: options.signal, timeoutMs: left }, left);
        return { fineTune: job, name: job.name, requestId, unknown: job.state === State.SUBMIT_UNKNOWN };
      } catch (error) {
        if (error instanceof GatewayError) error.requestId = requestId;
        if (!worthRepeating(error)) throw error;
        const pause = backoff.next(error.retryDelayMs);
        if (performance.now() + pause >= deadline) throw error;
        await this.#sleep(pause, options.signal);
      }
    }
  }

  /** The job `fineTunes/{id}`, from the gateway's memory. */
  get(name: string, options: GetOptions = {}): Promise<FineTune> {
    const freshness = options.maxStalenessMs === undefined ? undefined : { maxStaleness: duration(options.maxStalenessMs) };
    return this.#call((client) => client.getFineTune, GetFineTuneRequest.fromPartial({ name, freshness }), options, 30_000);
  }

  /** All jobs that match, newest first, page by page as they are asked for. */
  async *list(options: ListOptions = {}): AsyncGenerator<FineTune, void, undefined> {
    const request = ListFineTunesRequest.fromPartial({
      filter: options.filter, orderBy: options.orderBy, pageSize: options.pageSize,
      view: options.full ? FineTuneView.FINE_TUNE_VIEW_FULL : FineTuneView.FINE_TUNE_VIEW_UNSPECIFIED,
    });
    do {
      const page = await this.#call((client) => client.listFineTunes, request, options, 30_000);
      yield* page.fineTunes;
      request.pageToken = page.nextPageToken;
    } while (request.pageToken !== "");
  }

  /** Changes a job's visibility, at Segmind, and its labels. */
  update(name: string, changes: Changes, bounds: Bounds = {}): Promise<FineTune> {
    const labels = changes.labels ?? {};
    const updateMask = [
      ...(changes.visibility ? ["visibility"] : []), ...[...Object.keys(labels), ...(changes.removeLabels ?? [])].map((key) => `labels.${key}`),
    ];
    const visibility = changes.visibility ? Visibility[changes.visibility] : undefined;
    return this.#call((client) => client.updateFineTune, UpdateFineTuneRequest.fromPartial({
      fineTune: { name, etag: changes.etag, labels, visibility }, updateMask,
    }), bounds, 30_000);
  }

  /** How healthy and how fresh the gateway is, who you are to it, and what you may still do. */
  status(bounds: Bounds = {}): Promise<GatewayStatus> {
    return this.#call((client) => client.getGatewayStatus, GetGatewayStatusRequest.fromPartial({}), bounds, 10_000);
  }

  /** A URL to which a dataset can be PUT directly, by whoever has internet access. */
  uploadUrl(fileName: string, options: Bounds & { publicRead?: boolean } = {}): Promise<UploadUrl> {
    return this.#call(
      (client) => client.createUploadUrl, CreateUploadUrlRequest.fromPartial({ fileName, publicRead: options.publicRead }), options, 30_000);
  }

  /**
   * The job once it has reached the state, or has ended otherwise: look at its state. WaitTimeoutError after `timeoutMs`; without one it waits
   * for ever, also across restarts of the gateway; UnreachableError if that was never there.
   */
  async wait(name: string, until: StateLike = "AVAILABLE", options: WaitOptions = {}): Promise<FineTune> {
    const wanted = stateOf(until);
    const deadline = options.timeoutMs === undefined ? Infinity : performance.now() + options.timeoutMs;
    if (!this.#connection.reached) await this.#connection.ready(this.#signal(options.signal), options.timeoutMs);
    const backoff = new Backoff(250, 5_000);
    let seen: FineTune | undefined;
    for (;;) {
      const began = performance.now();
      const slice = Math.max(0, Math.min(WAIT_SLICE_MS, deadline - began));
      let pause = 0;
      try {
        const answer: WaitFineTuneResponse = await this.#call(
          (client) => client.waitFineTune, WaitFineTuneRequest.fromPartial({ name, until: wanted, timeout: duration(slice) }),
          { signal: options.signal }, slice + WAIT_GRACE_MS);
        seen = answer.fineTune;
        if (seen && (answer.done || hasReached(seen.state, wanted) || isTerminal(seen.state))) return seen;
        if (performance.now() - began < slice / 2) pause = backoff.next(); // A server that answers before its time is not asked in a tight loop.
        else backoff.reset();
      } catch (error) {
        const late = error instanceof GatewayError && error.code === Code.DEADLINE_EXCEEDED;
        if (!late && !worthRepeating(error)) throw error;
        pause = backoff.next((error as GatewayError).retryDelayMs);
      }
      if (performance.now() + pause >= deadline) {
        throw new WaitTimeoutError(`${name} was not ${stateName(wanted)} in time${seen ? `; it is ${stateName(seen.state)}` : ""}`, seen);
      }
      await this.#sleep(pause, options.signal);
    }
  }

  /**
   * Events about jobs, for ever: first all that there are, then `synced`, then each change. All watches of a client share one stream, which
   * resumes by itself and tells nothing twice. Leave its `for await`, or close() it, to end it.
   */
  watch(options: WatchOptions = {}): Watch {
    if (this.#connection.closed) throw new ClosedError();
    if (!this.#watch || this.#watch.ended) this.#watch = new SharedWatch(this.#connection);
    return new Watch(this.#watch, options);
  }

  /**
   * Sends a zip, or the images of a folder as one, through the gateway; `dataSourceUri` of what is returned is for submit. Rejects for what
   * Segmind would refuse an hour later: no zip, no image at its top level.
   */
  async upload(path: string, options: UploadOptions = {}): Promise<Dataset> {
    const file = await DatasetFile.open(path, options);
    try {
      const backoff = new Backoff();
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#send(file, options);
        } catch (error) {
          const damaged = error instanceof GatewayError && error.code === Code.DATA_LOSS;
          if (attempt === TRANSFER_ATTEMPTS || options.signal?.aborted || !(damaged || worthRepeating(error))) throw error;
          await this.#sleep(backoff.next((error as GatewayError).retryDelayMs), options.signal);
        }
      }
    } finally {
      await file.close();
    }
  }

  async #send(file: DatasetFile, options: UploadOptions): Promise<Dataset> {
    const client = await this.#connection.ready(this.#signal(options.signal));
    return new Promise((resolve, reject) => {
      let answered = false;
      const end = (error: unknown, dataset?: Dataset) => {
        answered = true;
        wake?.();
        this.#closing.signal.removeEventListener("abort", stop);
        options.signal?.removeEventListener("abort", stop);
        if (dataset && !error) resolve(dataset);
        else reject(this.#closing.signal.aborted ? new ClosedError() : options.signal?.aborted ? options.signal.reason : typed(error));
      };
      let wake: (() => void) | undefined;
      const stop = () => call.cancel();
      const call = client.uploadDataset(this.#connection.metadata(false), end);
      call.on("drain", () => wake?.());
      call.on("error", () => undefined); // The callback is told, too.
      this.#closing.signal.addEventListener("abort", stop, { once: true });
      options.signal?.addEventListener("abort", stop, { once: true });
      const write = async () => {
        for await (const { request, sent } of file.requests()) {
          // The gateway may answer early, with an error.
          if (answered) return;
          if (!call.write(request)) await new Promise<void>((done) => (wake = done));
          if (sent > 0) options.onProgress?.(sent, file.size);
        }
        call.end();
      };
      write().catch((error: unknown) => {
        call.cancel();
        if (!answered) end(error);
      });
    });
  }

  /**
   * Fetches a job's weights into `path`. It goes on where it broke, also in a later process, unless the file has changed at its source; until it
   * is whole its bytes are in PATH.part, and what lies at `path` stays.
   */
  async download(name: string, path: string, options: DownloadOptions = {}): Promise<Download> {
    const file = await PartialFile.open(path);
    try {
      const protocol = new DownloadProtocol(name, file, options.onProgress);
      const backoff = new Backoff();
      for (let attempt = 1; ; attempt++) {
        try {
          await this.#fetch(protocol, options.signal);
          return await protocol.finish();
        } catch (error) {
          if (protocol.progressed()) {
            attempt = 0;
            backoff.reset();
          }
          if (attempt >= TRANSFER_ATTEMPTS || options.signal?.aborted || !(await protocol.mayRepeat(error))) throw error;
          await this.#sleep(backoff.next((error as GatewayError).retryDelayMs), options.signal);
        }
      }
    } finally {
      await file.close();
    }
  }

  async #fetch(protocol: DownloadProtocol, signal?: AbortSignal): Promise<void> {
    const client = await this.#connection.ready(this.#signal(signal));
    const call = client.downloadWeights(protocol.request(), this.#connection.metadata(false));
    const stop = () => call.cancel();
    this.#closing.signal.addEventListener("abort", stop, { once: true });
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for await (const part of call) await protocol.take(part);
    } catch (error) {
      throw this.#closing.signal.aborted ? new ClosedError() : signal?.aborted ? signal.reason : typed(error);
    } finally {
      call.cancel();
      this.#closing.signal.removeEventListener("abort", stop);
      signal?.removeEventListener("abort", stop);
    }
    protocol.complete();
  }
}

function duration(ms: number) {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.floor((ms % 1000) * 1e6) };
}

/** AbortSignal.any, which Node.js has from 20 on. */
function anyOf(...signals: AbortSignal[]): AbortSignal {
  const any = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) any.abort(signal.reason);
    signal.addEventListener("abort", () => any.abort(signal.reason), { once: true, signal: any.signal });
  }
  return any.signal;
}
