import { Metadata } from "@grpc/grpc-js";

import { channelCredentials, channelOptions, checkSettings, isSecure, type Settings } from "./channel.js";
import { ClosedError } from "./errors.js";
import { parseTls, parseToken, type TlsFiles, WatchedFiles } from "./files.js";
import { FineTuneServiceClient } from "./proto/segmind/finetune/v1/fine_tune_service.js";

/** A channel whose credentials are those that the files hold now. */
export class Connection {
  readonly #tls: WatchedFiles<TlsFiles>;
  readonly #token?: WatchedFiles<string>;
  #client?: FineTuneServiceClient;
  #version = -1;
  /** Calls under way end on the channel that they began on. */
  #old: FineTuneServiceClient[] = [];
  closed = false;

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
        this.target, channelCredentials(this.settings, files), channelOptions(this.target, this.settings));
      this.#version = this.#tls.version;
    }
    return this.#client;
  }

  /** For one call: it waits for a gateway that is away, and carries the token. */
  metadata(): Metadata {
    const metadata = new Metadata({ waitForReady: true });
    if (this.#token) metadata.set("authorization", `Bearer ${this.#token.value()}`);
    return metadata;
  }

  close(): void {
    this.closed = true;
    for (const client of this.#old) client.close();
    this.#client?.close();
  }
}
