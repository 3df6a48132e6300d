// What is shown for what the gateway says. Pure functions.

export const STATES = {
  SUBMIT_UNKNOWN: { word: "Unknown", tone: "active", means: "The submission's outcome is not known; the gateway is finding out." },
  QUEUED: { word: "Queued", tone: "active", means: "Segmind has taken the job." },
  PREPARING: { word: "Preparing", tone: "active", means: "Segmind is fetching the dataset." },
  TRAINING: { word: "Training", tone: "active", means: "The model is being trained." },
  TRAINED: { word: "Trained", tone: "active", means: "The weights can be downloaded." },
  DEPLOYING: { word: "Deploying", tone: "active", means: "The model is being made ready for inference." },
  AVAILABLE: { word: "Available", tone: "good", means: "The model is ready for inference." },
  FAILED: { word: "Failed", tone: "bad", means: "" },
  LOST: { word: "Lost", tone: "bad", means: "Segmind no longer lists the job." },
  CANCELLED: { word: "Cancelled", tone: "quiet", means: "Somebody stopped the job at Segmind." },
};

const UNKNOWN = { tone: "active", means: "A state that this page does not know." };

export function stateOf(name) {
  return STATES[name] ?? { ...UNKNOWN, word: String(name ?? "Unspecified") };
}

export function isActive(name) {
  return stateOf(name).tone === "active";
}

const FAILURES = {
  DATASET_UNREACHABLE: "Segmind could not fetch the dataset. Check that its URL answers HEAD and GET with a Content-Length, without a login; then submit anew.",
  DATASET_INVALID: "Segmind could not use the dataset. It must be a zip of images under 100 MB; finetune create --dataset checks a folder before it sends it.",
  OUT_OF_MEMORY: "The training ran out of memory. Use fewer or smaller images, a smaller rank or resolution, or another machine type.",
  UPSTREAM_INTERNAL: "Something broke at Segmind. The same job may well succeed when it is submitted again.",
  NOT_SUBMITTED: "The submission never reached Segmind, and costs nothing. The same request may be sent again.",
};

export function failureOf(failure) {
  return FAILURES[failure?.reason] ?? "Segmind says that the job failed, and not why in words that the gateway knows.";
}

const SOURCES = {
  SUBMIT: "told by Segmind when it was submitted",
  WEBHOOK: "told by Segmind's webhook",
  POLL: "seen in Segmind's list",
  RECONCILE: "found when the gateway looked for it",
};

export function sourceOf(source, state) {
  if (state === "SUBMIT_UNKNOWN") return "no usable answer came when it was submitted";
  return SOURCES[source] ?? "";
}

export const UPSTREAMS = {
  HEALTHY: { word: "Healthy", tone: "good" },
  DEGRADED: { word: "Degraded", tone: "active", means: "Answers fail or are limited; what is shown comes from memory." },
  RETIRED: { word: "Retired", tone: "bad", means: "Segmind takes no new jobs." },
  CREDENTIAL_REJECTED: { word: "Key refused", tone: "bad", means: "Segmind refuses the gateway's API key." },
};

// Milliseconds in the two greatest units: 45s, 3m 12s, 2h 5m, 4d 3h.
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const parts = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "m"], [s % 60, "s"]];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0s";
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => n + unit).join(" ");
}

// In the one greatest unit.
export function age(ms) {
  return duration(ms).split(" ")[0];
}

const TIME = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });

export function time(ms) {
  return TIME.format(ms);
}

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const NUMBER = new Intl.NumberFormat("en");

export function number(n) {
  return NUMBER.format(Number(n ?? 0));
}

// An amount in millionths of its unit; zero is left out of what the gateway says.
export function costOf(cost) {
  return `${number((cost.micros ?? 0) / 1e6)} ${cost.unit}`;
}

export function costsOf(costs) {
  return (costs ?? []).map(costOf).join("; ") || "–";
}
