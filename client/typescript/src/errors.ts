import { status as Code, type Metadata, type ServiceError } from "@grpc/grpc-js";

import * as details from "./proto/finetune/rpc/error_details.js";
import type { FineTune } from "./proto/segmind/finetune/v1/fine_tune.js";

const DOMAIN = "segmind-finetune-gateway";
const URL_PREFIX = "type.googleapis.com/google.rpc.";

/** A field of the request that is wrong, and why. */
export interface Violation {
  field: string;
  description: string;
}

/** A limit that was reached: whose, and which. */
export interface QuotaViolation {
  subject: string;
  description: string;
}

/** A call that failed. */
export class GatewayError extends Error {
  override name = "GatewayError";
  /** A name of the contract's ErrorReason, such as "FINE_TUNE_NOT_FOUND"; empty if the gateway gave none, as when it is out of reach. */
  reason = "";
  /** The fields that are wrong, of INVALID_FIELD. */
  violations: Violation[] = [];
  /** How many milliseconds to wait before trying again, if the gateway says so. */
  retryDelayMs?: number;
  /** The limits that were reached, of CLIENT_QUOTA_EXCEEDED. */
  quota: QuotaViolation[] = [];
  /** The name of the job that the error is about, if the gateway says so. */
  resource = "";
  /** More facts, such as Segmind's own status code. */
  metadata: Record<string, string> = {};
  /** Of a submit that failed: repeat it with this one. */
  requestId = "";

  /** @param code gRPC's status code, a number of `status` in @grpc/grpc-js. */
  constructor(readonly code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
  }

  /** gRPC's name of the code, such as "NOT_FOUND". */
  get codeName(): string {
    return Code[this.code] ?? String(this.code);
  }
}

/** The client was closed while the call was under way, or before. */
export class ClosedError extends GatewayError {
  override name = "ClosedError";

  constructor() {
    super(Code.CANCELLED, "the client is closed");
  }
}

/** No connection came about within `connectTimeoutMs`; the message says why. */
export class UnreachableError extends GatewayError {
  override name = "UnreachableError";

  constructor(message: string) {
    super(Code.UNAVAILABLE, message);
  }
}

/** The time of a wait ran out. `fineTune` is the job as it was last seen, if it was. */
export class WaitTimeoutError extends Error {
  override name = "WaitTimeoutError";

  constructor(message: string, readonly fineTune?: FineTune) {
    super(message);
  }
}

/** The google.rpc details, by the names of their types. */
function detailsIn(metadata: Metadata | undefined): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const value of metadata?.get("grpc-status-details-bin") ?? []) {
    try {
      for (const detail of details.Status.decode(value as Buffer).details) {
        if (detail.typeUrl.startsWith(URL_PREFIX)) found.set(detail.typeUrl.slice(URL_PREFIX.length), detail.value);
      }
    } catch {
      // What cannot be read says nothing.
    }
  }
  return found;
}

function detail<T>(found: Map<string, Uint8Array>, kind: string, decode: (bytes: Uint8Array) => T): T | undefined {
  const bytes = found.get(kind);
  try {
    return bytes && decode(bytes);
  } catch {
    return undefined;
  }
}

/** The typed error of what gRPC says. */
export function typed(error: unknown): Error {
  if (error instanceof GatewayError || error instanceof WaitTimeoutError) return error;
  const service = error as ServiceError;
  if (!(error instanceof Error)) return new Error(String(error));
  if (typeof service.code !== "number" || service.metadata === undefined) return error;
  const made = new GatewayError(service.code, service.details || service.message, { cause: error });
  const found = detailsIn(service.metadata);
  const info = detail(found, "ErrorInfo", (bytes) => details.ErrorInfo.decode(bytes));
  if (info) {
    made.metadata = info.metadata;
    if (info.domain === DOMAIN) made.reason = info.reason;
  }
  const retry = detail(found, "RetryInfo", (bytes) => details.RetryInfo.decode(bytes))?.retryDelay;
  if (retry) made.retryDelayMs = Math.max(0, Number(retry.seconds) * 1000 + retry.nanos / 1e6);
  made.violations = detail(found, "BadRequest", (bytes) => details.BadRequest.decode(bytes))?.fieldViolations ?? [];
  made.quota = detail(found, "QuotaFailure", (bytes) => details.QuotaFailure.decode(bytes))?.violations ?? [];
  made.resource = detail(found, "ResourceInfo", (bytes) => details.ResourceInfo.decode(bytes))?.resourceName ?? "";
  return made;
}

/** Whether the same call may succeed later, and repeating it does no harm. */
export function worthRepeating(error: unknown): error is GatewayError {
  if (!(error instanceof GatewayError) || error instanceof ClosedError || error instanceof UnreachableError) return false;
  switch (error.code) {
    case Code.UNAVAILABLE:
    case Code.UNKNOWN:
      return true;
    case Code.CANCELLED:
    case Code.INTERNAL:
      // A server that shuts down says CANCELLED to calls that it has not looked at; a connection that was reset shows itself as
      // INTERNAL without a reason.
      return error.reason === "";
    case Code.RESOURCE_EXHAUSTED:
      return error.retryDelayMs !== undefined;
    default:
      return false;
  }
}

/** Whether the gateway need not have had a part in the failure. */
export function mayBeOutOfReach(error: unknown): error is GatewayError {
  return error instanceof GatewayError && (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED) && error.reason === "";
}
