import { Metadata } from "@grpc/grpc-js";

import { channelCredentials, channelOptions, checkSettings, isSecure, type Settings } from "./channel.js";
import { ClosedError, UnreachableError } from "./errors.js";
import { parseTls, parseToken, type TlsFiles, WatchedFiles } from "./files.js";
import { FineTuneServiceClient } from "./proto/segmind/finetune/v1/fine_tune_service.js";
import { couldNotConnect, whyUnreachable } from "./unreachable.js";

const CONNECT_TIMEOUT_MS = 30_000;

/** A channel whose credentials are those that the files hold now. */
export class Connection {
  readonly #tls: WatchedFiles<TlsFiles>;
  readonly #token?: WatchedFiles<string>;
  #client?: FineTuneServiceClient;
  #version = -1;
  /** Calls under way end on the channel that they began on. */
  #old: FineTuneServiceClient[] = [];
  closed = false;
  /** The channel that has brought an answer. */
  #reached?: FineTuneServiceClient;

  constructor(private readonly target: string, private readonly settings: Settings) {
    checkSettings(target, settings);
    const paths = new Map(Object.entries({ "TLS CA": settings.tlsCa, "TLS certificate": settings.tlsCert, "TLS key": settings.tlsKey })
      .filter((entry): entry is [string, string] => Boolean(entry[1])));
    this.#tls = new WatchedFiles(isSecure(settings) ? paths : new Map(), parseTls);
    if (settings.tokenFile) this.#token = new WatchedFiles(new Map([["token", settings.tokenFile]]), parseToken);
  }

  client(): FineTuneServiceClient {
    if (this.closed) throw new ClosedError();
    const files = this.#tls.value();
    if (!this.#client || this.#version !== this.#tls.version) {
      if (this.#client) this.#old.push(this.#client);
      while (this.#old.length > 2) this.#old.shift()?.close();
      this.#client = new FineTuneServiceClient(
        this.target, channelCredentials(this.target, this.settings, files), channelOptions(this.target, this.settings));
      this.#version = this.#tls.version;
    }
    return this.#client;
  }

  /** An answer has come on this channel. */
  answered(client: FineTuneServiceClient): void {
    this.#reached = client;
  }

  /** Why a call failed whose channel has never brought an answer; undefined if it has, or if nothing is wrong that can be seen from here. */
  async whyFailed(client: FineTuneServiceClient, afterMs: number): Promise<string | undefined> {
    if (this.#reached === client || this.closed) return undefined;
    const why = await whyUnreachable(this.target, this.settings, this.#tls.value());
    return why ? couldNotConnect(this.target, afterMs, why) : undefined;
  }

  /** Whether there was an answer ever. */
  get reached(): boolean {
    return this.#reached !== undefined;
  }

  /** A client with a connection; rejects with an UnreachableError if none comes about in time. */
  async ready(signal?: AbortSignal, withinMs = Infinity): Promise<FineTuneServiceClient> {
    const limit = Math.min(withinMs, this.settings.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
    const client = this.client();
    const ready = await new Promise<boolean>((resolve, reject) => {
      const stop = () => reject(signal?.reason);
      if (signal?.aborted) return stop();
      signal?.addEventListener("abort", stop, { once: true });
      client.waitForReady(Date.now() + limit, (error) => {
        signal?.removeEventListener("abort", stop);
        resolve(!error);
      });
    });
    if (this.closed) throw new ClosedError();
    if (!ready) {
      const why = await whyUnreachable(this.target, this.settings, this.#tls.value());
      throw new UnreachableError(couldNotConnect(this.target, limit, why));
    }
    this.#reached = client;
    return client;
  }

  /** For one call: it carries the token, and waits for a gateway that is away, but for a transfer, which has waited. */
  metadata(waitForReady = true): Metadata {
    const metadata = new Metadata({ waitForReady });
    if (this.#token) metadata.set("authorization", `Bearer ${this.#token.value()}`);
    return metadata;
  }

  close(): void {
    this.closed = true;
    for (const client of this.#old) client.close();
    this.#client?.close();
  }
}
