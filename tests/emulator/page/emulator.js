// Clicks become calls of the control door; what it says is shown anew each second.

const STAGES = ["REQUESTED", "QUEUED", "DATA_PROCESSING", "TRAINING_INITIATED", "TRAINING_COMPLETED", "INFERENCE_QUEUED", "DEPLOYING", "AVAILABLE"];
const OTHERS = { FAILED: "Internal Server Error", CANCELLED: "Cancelled by user" };
const CALLS = ["", "submit", "details", "list", "reads", "upload_url", "access_update", "file_download", "credits", "storage_put", "storage_get", "webhook", "lifecycle", "any"];
const USUAL = {
  "Lose the next submit's answer": { call: "submit", kind: "lost_answer" },
  "Answer five lists with 503": { call: "list", kind: "status", code: 503, count: 5 },
  "Make every answer 2 s late": { call: "any", kind: "latency", ms: 2000, count: -1 },
  "Limit the rate for 30 s": { call: "list", kind: "rate_limited", seconds: 30 },
  "Refuse the key": { kind: "key_revoked" },
  "No credits": { kind: "no_credits" },
  "Take no new jobs": { kind: "retired" },
  "Lose the next webhook": { kind: "webhook_lost" },
  "Fail the next training": { kind: "fail", stage: "TRAINING_COMPLETED", message: "CUDA out of memory" },
};
const SHOWN = 200;

const byId = (id) => document.getElementById(id);
const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

async function call(method, path, body) {
  const answer = await fetch(`emulator/${path}`, { method, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(JSON.parse(text || "{}").error ?? `HTTP ${answer.status}`);
  return text;
}

// What a click does; says how it went, and shows what became of it.
async function act(what, method, path, body) {
  try {
    await call(method, path, body);
    byId("said").textContent = what;
  } catch (error) {
    byId("said").textContent = `Not done: ${error.message}`;
  }
  await look();
}

const button = (text, press, label) => {
  const made = element("button", { type: "button", textContent: text, onclick: press });
  if (label) made.ariaLabel = label;
  return made;
};

class JobRow {
  constructor(job) {
    const to = (status) => act(`${this.job.name} is ${status}`, "POST", `jobs/${this.job.id}`, { status, error_message: OTHERS[status] ?? null });
    this.status = element("td");
    this.next = button("", () => to(this.following()));
    this.others = element("select", {}, element("option", { textContent: "Set to …", value: "" }), ...[...STAGES, ...Object.keys(OTHERS), "RETRIED"].map((name) => element("option", { textContent: name })));
    this.others.ariaLabel = `Set ${job.name} to`;
    this.others.onchange = () => this.others.value && to(this.others.value).then(() => (this.others.value = ""));
    const drop = button("Drop", () => act(`${this.job.name} is gone`, "DELETE", `jobs/${this.job.id}`), `Drop ${job.name}`);
    this.node = element("tr", {}, element("td", { textContent: job.name, title: job.id }), element("td", { textContent: job.base_model }), this.status, element("td", {}, this.next), element("td", {}, this.others, " ", drop));
  }

  following() {
    return STAGES[STAGES.indexOf(this.job.status) + 1] ?? "REQUESTED";
  }

  show(job) {
    this.job = job;
    this.status.textContent = job.status;
    this.status.title = job.error_message ?? "";
    this.next.textContent = this.following();
    this.next.ariaLabel = `Set ${job.name} to ${this.following()}`;
  }
}

const rows = new Map();

function showJobs(jobs) {
  const ids = new Set(jobs.map((job) => job.id));
  for (const [id, row] of rows) if (!ids.has(id)) (row.node.remove(), rows.delete(id));
  let before;
  for (const job of jobs) {
    if (!rows.has(job.id)) rows.set(job.id, new JobRow(job));
    const row = rows.get(job.id);
    row.show(job);
    const place = before ? before.nextSibling : byId("jobs").firstChild;
    if (place !== row.node) byId("jobs").insertBefore(row.node, place);
    before = row.node;
  }
  byId("more").textContent = jobs.length < SHOWN ? "" : `The newest ${SHOWN} jobs.`;
}

let faultsShown = "";
function showFaults(text) {
  if (text === faultsShown) return;
  faultsShown = text;
  byId("faults").replaceChildren(...JSON.parse(text).map(({ id, ...fault }) => element("li", {}, element("code", { textContent: JSON.stringify(fault) }), " ", button("Remove", () => act("Removed", "DELETE", `faults/${id}`), `Remove fault ${id}`))));
  byId("clear").hidden = byId("faults").children.length === 0;
}

async function look() {
  try {
    const [jobs, faults, stats] = await Promise.all(["jobs?limit=" + SHOWN, "faults", "stats"].map((path) => call("GET", path)));
    showJobs(JSON.parse(jobs));
    showFaults(faults);
    const said = JSON.parse(stats);
    byId("stats").textContent = `${said.total_calls} calls, ${said.submits_taken} submits taken, ${said.submits_refused} refused, ${said.webhooks_posted} webhooks posted.`;
    if (byId("said").textContent.startsWith("The emulator")) byId("said").textContent = "";
  } catch {
    byId("said").textContent = "The emulator does not answer.";
  }
}

async function begin() {
  const fault = byId("fault");
  for (const name of CALLS) fault.call.append(element("option", { value: name, textContent: name || "its own" }));
  const meanings = {};
  const kinds = (await call("GET", "faults/kinds")).split("\n\n")[0];
  for (const [, name, meaning] of kinds.matchAll(/^(\w+) +(.*)$/gm)) {
    meanings[name] = meaning;
    fault.kind.append(element("option", { textContent: name }));
  }
  const explain = () => (byId("meaning").textContent = meanings[fault.kind.value]);
  fault.kind.onchange = explain;
  explain();
  for (const [words, body] of Object.entries(USUAL)) byId("usual").append(button(words, () => act(words, "POST", "faults", body)));
  byId("clock").time_scale.value = JSON.parse(await call("GET", "settings")).time_scale;
  await look();
}

byId("clock").onsubmit = (event) => {
  event.preventDefault();
  act("The time goes so fast now", "POST", "clock", { time_scale: Number(event.target.time_scale.value) });
};
byId("make").onsubmit = (event) => {
  event.preventDefault();
  const { name, base_model: model, walk } = event.target;
  act(`${name.value} is made`, "POST", "jobs", { name: name.value, base_model: model.value, status: "REQUESTED", walk: walk.checked });
};
byId("fault").onsubmit = (event) => {
  event.preventDefault();
  const { kind, call: where, count, more } = event.target;
  let rest = {};
  try {
    rest = JSON.parse(more.value || "{}");
  } catch (error) {
    byId("said").textContent = `Not done: ${error.message}`;
    return;
  }
  act(`Added ${kind.value}`, "POST", "faults", { kind: kind.value, ...(where.value && { call: where.value }), count: Number(count.value), ...rest });
};
byId("clear").onclick = () => act("All faults are cleared", "DELETE", "faults");

begin().catch(() => (byId("said").textContent = "The emulator does not answer."));
setInterval(() => document.visibilityState === "visible" && look(), 1000);
