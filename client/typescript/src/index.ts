/**
 * Client of the Segmind fine-tune gateway.
 *
 * ```ts
 * import { connect } from "@segmind/finetune-gateway";
 *
 * const gateway = connect("finetune-gateway:50051", { tlsCa: "ca.crt", tokenFile: "token" });
 * const data = await gateway.upload("cats", { publicRead: true });
 * const job = await gateway.submit({ displayName: "cats", dataSourceUri: data.dataSourceUri, … });
 * const done = await gateway.wait(job.name, "AVAILABLE");
 * await gateway.download(done.name, "cats.safetensors");
 * gateway.close();
 * ```
 */
export { Client, connect } from "./client.js";
export type {
  Changes, Download, DownloadOptions, GetOptions, ListOptions, Settings, Submission, SubmitOptions, UploadOptions, WaitOptions, WatchOptions,
} from "./client.js";
export { ClosedError, GatewayError, UnreachableError, WaitTimeoutError } from "./errors.js";
export type { QuotaViolation, Violation } from "./errors.js";
export { hasReached, isTerminal, stateName } from "./jobs.js";
export type { FineTuneFields, StateLike } from "./jobs.js";
export type { Event, EventKind } from "./watching.js";
export { Watch } from "./watch.js";
export { FineTune_State as State, FineTune_Visibility as Visibility } from "./proto/segmind/finetune/v1/fine_tune.js";
export type { FineTune } from "./proto/segmind/finetune/v1/fine_tune.js";
