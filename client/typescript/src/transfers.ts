import { Crc32c } from "@aws-crypto/crc32c";
import { status as Code } from "@grpc/grpc-js";
import { createHash, type Hash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { type FileHandle, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import lockfile from "proper-lockfile";
import yauzl from "yauzl";
import yazl from "yazl";

import { GatewayError, worthRepeating } from "./errors.js";
import {
  DatasetSpec, DownloadWeightsRequest, type DownloadWeightsResponse, UploadDatasetRequest,
} from "./proto/segmind/finetune/v1/fine_tune_service.js";

const CHUNK_BYTES = 1 << 20;
/** How often in a row a transfer may break without getting any further. */
export const TRANSFER_ATTEMPTS = 6;

/** What Segmind takes as an image, and what may lie beside one: its caption, and a table of captions. */
const IMAGE_SUFFIXES = [".jpg", ".jpeg", ".png", ".webp"];
const CAPTION_SUFFIXES = [".txt", ".caption"];
const CAPTION_TABLES = ["metadata.jsonl", "metadata.csv"];

const isImage = (name: string) => IMAGE_SUFFIXES.includes(extname(name).toLowerCase());

/** A file that was downloaded. */
export interface Download {
  path: string;
  sizeBytes: number;
  /** In hexadecimal. */
  sha256: string;
  /** How much of it an earlier attempt had left. */
  resumedBytes: number;
}

/**
 * A file that is being fetched. Its bytes gather in PATH.part and get the final name only when all are there. What is there is kept for a later
 * attempt, also of another process, together with the version of the source that it is from (PATH.part.generation). Locked against a second
 * fetch of the same path by another program of this library (PATH.part.lock).
 */
export class PartialFile {
  size = 0;
  generation = "";
  #digest: Hash = createHash("sha256");

  private constructor(readonly path: string, private readonly file: FileHandle, private readonly unlock: () => Promise<void>) {}

  static async open(path: string): Promise<PartialFile> {
    const there = await stat(path).catch(() => undefined);
    if (there?.isDirectory()) throw Object.assign(new Error(`${path} is a folder; name the file`), { code: "EISDIR" });
    // The finished file takes the name, and with it the place of whatever has it.
    if (there && !there.isFile()) throw Object.assign(new Error(`${path} is no regular file; name another`), { code: "EINVAL" });
    const file = await open(`${path}.part`, "a+");
    try {
      // A process that was killed leaves its lock behind, which counts for five seconds.
      const retries = { retries: 7, factor: 1, minTimeout: 1_000, maxTimeout: 1_000 };
      const unlock = await lockfile.lock(`${path}.part`, { realpath: false, stale: 5_000, retries }).catch((error: NodeJS.ErrnoException) => {
        throw error.code === "ELOCKED" ? new Error(`another download to ${path} is under way`) : error;
      });
      const made = new PartialFile(path, file, unlock);
      await made.#load();
      return made;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get #generationPath() {
    return `${this.path}.part.generation`;
  }

  async #load(): Promise<void> {
    this.generation = await readFile(this.#generationPath, "utf8").catch(() => "");
    if (this.generation === "") return this.restart("");
    const block = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const { bytesRead } = await this.file.read(block, 0, block.length, this.size);
      if (bytesRead === 0) return;
      this.#digest.update(block.subarray(0, bytesRead));
      this.size += bytesRead;
    }
  }

  /** Drops what is there: from now on the file is of this version. One without a version cannot be continued later. */
  async restart(generation: string): Promise<void> {
    await rm(this.#generationPath, { force: true });
    await this.file.truncate(0);
    this.#digest = createHash("sha256");
    this.size = 0;
    this.generation = generation;
    if (generation !== "") await writeFile(this.#generationPath, generation);
  }

  async append(data: Uint8Array): Promise<void> {
    await this.file.writeFile(data);
    this.#digest.update(data);
    this.size += data.length;
  }

  sha256(): Buffer {
    return this.#digest.copy().digest();
  }

  /** Gives the complete file its name, durably. */
  async finish(): Promise<void> {
    await this.file.sync();
    await rename(`${this.path}.part`, this.path);
    await rm(this.#generationPath, { force: true });
    const folder = await open(dirname(resolve(this.path)), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  async close(): Promise<void> {
    await this.file.close();
    await this.unlock().catch(() => undefined);
  }
}

/** One download over as many streams as it takes; its owner makes the streams and feeds their messages in. */
export class DownloadProtocol {
  #resumed: number;
  #total = -1;
  #whole?: Uint8Array;
  #sizeBefore = 0;

  constructor(private readonly name: string, private readonly file: PartialFile, private readonly onProgress?: (done: number, total: number) => void) {
    this.#resumed = file.size;
  }

  /** For the next stream: what is missing, of the version that is here. */
  request(): DownloadWeightsRequest {
    this.#total = -1;
    this.#sizeBefore = this.file.size;
    return DownloadWeightsRequest.fromPartial({
      name: this.name, readOffset: BigInt(this.file.size), generation: this.file.size > 0 ? this.file.generation : "",
    });
  }

  async take(part: DownloadWeightsResponse): Promise<void> {
    if (this.#total < 0) {
      this.#total = Number(part.totalSizeBytes);
      if (this.file.size === 0) await this.file.restart(part.generation);
    }
    if (part.sha256.length > 0) this.#whole = part.sha256;
    if (part.chunk.length === 0) return;
    if (Number(part.offset) !== this.file.size) {
      throw new GatewayError(Code.DATA_LOSS, `byte ${part.offset} came where byte ${this.file.size} was due`);
    }
    if (part.crc32c !== 0 && new Crc32c().update(part.chunk).digest() !== part.crc32c) {
      throw new GatewayError(Code.DATA_LOSS, `the bytes from ${this.file.size} on were damaged on their way`);
    }
    await this.file.append(part.chunk);
    this.onProgress?.(this.file.size, this.#total);
  }

  /** After the last message of a stream: throws unless the file is whole. */
  complete(): void {
    const { size } = this.file;
    if (size < this.#total) throw new GatewayError(Code.UNAVAILABLE, `the transfer ended at byte ${size} of ${this.#total}`);
    if (this.#total >= 0 && size > this.#total) throw new GatewayError(Code.DATA_LOSS, "more bytes came than the file has");
    if (this.#whole && !this.file.sha256().equals(this.#whole)) {
      throw new GatewayError(Code.DATA_LOSS, "the SHA-256 of the file is not what the gateway says");
    }
  }

  /** Whether the last stream brought anything. */
  progressed(): boolean {
    return this.file.size > this.#sizeBefore;
  }

  /** Whether another stream may bring the rest. Drops what cannot be continued. */
  async mayRepeat(error: unknown): Promise<boolean> {
    if (error instanceof GatewayError && (error.reason === "WEIGHTS_CHANGED" || error.code === Code.DATA_LOSS || error.code === Code.OUT_OF_RANGE)) {
      if (this.file.size === 0 && this.#sizeBefore === 0) return false;
      await this.file.restart("");
      this.#resumed = 0;
      return true;
    }
    return worthRepeating(error);
  }

  async finish(): Promise<Download> {
    const done = { path: this.file.path, sizeBytes: this.file.size, sha256: this.file.sha256().toString("hex"), resumedBytes: this.#resumed };
    await this.file.finish();
    return done;
  }
}

/** A zip that is to be uploaded: the one at a path, or one made of a folder's images. */
export class DatasetFile {
  private constructor(private readonly path: string, private readonly spec: DatasetSpec, private readonly temporary?: string) {}

  static async open(path: string, options: { publicRead?: boolean; fileName?: string; force?: boolean }): Promise<DatasetFile> {
    const folder = (await stat(path)).isDirectory();
    if (!folder && !options.force) await checkZip(path);
    const temporary = folder ? await mkdtemp(join(tmpdir(), "dataset-")) : undefined;
    try {
      const file = temporary ? await zipFolder(path, join(temporary, "dataset.zip")) : path;
      const digest = createHash("sha256");
      let size = 0;
      for await (const block of blocks(file)) {
        digest.update(block);
        size += block.length;
      }
      const name = options.fileName ?? (folder ? `${basename(resolve(path))}.zip` : basename(path));
      return new DatasetFile(file, DatasetSpec.fromPartial({
        fileName: name, sizeBytes: BigInt(size), publicRead: options.publicRead, sha256: digest.digest(),
      }), temporary);
    } catch (error) {
      if (temporary) await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  }

  get size(): number {
    return Number(this.spec.sizeBytes);
  }

  async *requests(): AsyncGenerator<{ request: UploadDatasetRequest; sent: number }> {
    yield { request: UploadDatasetRequest.fromPartial({ spec: this.spec }), sent: 0 };
    let sent = 0;
    for await (const chunk of blocks(this.path)) {
      sent += chunk.length;
      yield { request: { spec: undefined, chunk }, sent };
    }
  }

  async close(): Promise<void> {
    if (this.temporary) await rm(this.temporary, { recursive: true, force: true });
  }
}

async function* blocks(path: string): AsyncGenerator<Buffer> {
  const file = await open(path, "r");
  try {
    for (;;) {
      const block = Buffer.allocUnsafe(CHUNK_BYTES);
      const { bytesRead } = await file.read(block, 0, block.length);
      if (bytesRead === 0) return;
      yield block.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function zipFolder(folder: string, path: string): Promise<string> {
  const archive = new yazl.ZipFile();
  let images = 0;
  for (const entry of (await readdir(folder)).sort()) {
    const file = join(folder, entry);
    const suffix = extname(entry).toLowerCase();
    const belongs = isImage(entry) || CAPTION_SUFFIXES.includes(suffix) || CAPTION_TABLES.includes(entry);
    if (entry.startsWith(".") || !belongs || !(await stat(file)).isFile()) continue;
    if (isImage(entry)) images++;
    archive.addFile(file, entry, { compress: false });
  }
  if (images === 0) throw new Error(`${folder} has no image (${IMAGE_SUFFIXES.join(", ")}) at its top level`);
  archive.end();
  await pipeline(archive.outputStream, createWriteStream(path));
  return path;
}

function checkZip(path: string): Promise<void> {
  return new Promise((done, reject) => {
    yauzl.open(path, { lazyEntries: true, strictFileNames: false }, (error, archive) => {
      if (error) {
        const local = (error as NodeJS.ErrnoException).code !== undefined;
        return reject(local ? error : new Error(`${path} is no zip`));
      }
      archive.on("entry", (entry: yauzl.Entry) => {
        if (!entry.fileName.includes("/") && isImage(entry.fileName)) {
          archive.close();
          done();
        } else {
          archive.readEntry();
        }
      });
      archive.on("end", () => reject(new Error(`${path} has no image at its top level; Segmind looks into no sub-folder`)));
      archive.on("error", () => reject(new Error(`${path} is no zip`)));
      archive.readEntry();
    });
  });
}
