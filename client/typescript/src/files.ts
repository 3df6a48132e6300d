import { createPrivateKey, X509Certificate } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";

const LARGEST_FILE = 1 << 20;

export function readSmallFile(what: string, path: string): Buffer {
  const file = openSync(path, "r");
  try {
    const parts: Buffer[] = [];
    let size = 0;
    for (;;) {
      const block = Buffer.alloc(64 << 10);
      const count = readSync(file, block);
      if (count === 0) break;
      parts.push(block.subarray(0, count));
      size += count;
      if (size > LARGEST_FILE) throw new Error(`the ${what} file ${path} is larger than a MiB`);
    }
    let data = Buffer.concat(parts);
    if (data.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf]))) data = data.subarray(3);
    if (data.toString("latin1").trim() === "") throw new Error(`the ${what} file ${path} is empty`);
    return data;
  } finally {
    closeSync(file);
  }
}

/** Files that are read again when they change; what was good stays until something good comes. They are looked at once a second at most. */
export class WatchedFiles<T> {
  #data: Map<string, Buffer>;
  #value: T;
  #looked = performance.now();
  /** Changes with the value. */
  version = 0;

  constructor(private readonly paths: Map<string, string>, private readonly parse: (files: Map<string, Buffer>) => T) {
    this.#data = this.#read();
    this.#value = parse(this.#data);
  }

  #read(): Map<string, Buffer> {
    return new Map([...this.paths].map(([what, path]) => [what, readSmallFile(what, path)]));
  }

  value(): T {
    if (this.paths.size > 0 && performance.now() - this.#looked >= 1000) {
      this.#looked = performance.now();
      try {
        const data = this.#read();
        if ([...data].some(([what, bytes]) => !bytes.equals(this.#data.get(what) ?? Buffer.alloc(0)))) {
          this.#value = this.parse(data);
          this.#data = data;
          this.version++;
        }
      } catch {
        // Half written, or removed for a moment: the next look will tell.
      }
    }
    return this.#value;
  }
}

export interface TlsFiles {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

export function parseTls(files: Map<string, Buffer>): TlsFiles {
  const found: TlsFiles = { ca: files.get("TLS CA"), cert: files.get("TLS certificate"), key: files.get("TLS key") };
  if (found.ca) new X509Certificate(found.ca);
  if (found.cert && found.key) {
    const own = new X509Certificate(found.cert);
    if (!own.checkPrivateKey(createPrivateKey(found.key))) throw new Error("the TLS key does not belong to the TLS certificate");
  }
  return found;
}

export function parseToken(files: Map<string, Buffer>): string {
  const token = (files.get("token") ?? Buffer.alloc(0)).toString("utf8").trim();
  if (/^bearer /i.test(token)) throw new Error("the token file must hold the token alone, without 'Bearer' before it");
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error("the token file must hold the token alone, as one word of plain text");
  return token;
}
