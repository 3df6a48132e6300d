// One job: what it is, its history as a time line, why it failed, and what to type for it.

import { element } from "./table.js";
import { costOf, duration, failureOf, isActive, sourceOf, stateOf, time, ZONE } from "./words.js";

function costTextOf(job) {
  const cost = job.billedCost ?? job.estimatedCost;
  return cost ? `${costOf(cost)}${job.billedCost ? "" : " (estimated)"}` : job.unpriced && "unknown: it has no price";
}

function facts(pairs) {
  const list = element("dl", { className: "facts" });
  for (const [name, value] of pairs) {
    if (!value) continue;
    list.append(element("div", {}, element("dt", { textContent: name }), element("dd", {}, value)));
  }
  return list;
}

function historyOf(job, now) {
  const steps = (job.transitions ?? []).map((step) => ({ ...step, at: Date.parse(step.time) }));
  const end = isActive(job.state) ? now : steps.at(-1)?.at;
  const whole = Math.max(1, (end ?? 0) - (steps[0]?.at ?? 0));
  const list = element("ol", { className: "history" });
  steps.forEach((step, i) => {
    const state = stateOf(step.state);
    const isLast = i === steps.length - 1;
    const lasted = (isLast ? end : steps[i + 1].at) - step.at;
    const goesOn = isLast && isActive(job.state);
    const line = element("li", {}, element("strong", { textContent: state.word }));
    line.dataset.tone = state.tone;
    line.append(element("span", { className: "lasted", textContent: isLast && !goesOn ? "" : `${duration(lasted)}${goesOn ? " so far" : ""}` }));
    if (!isLast || goesOn) {
      const bar = element("div", { className: "bar" });
      bar.style.width = `${(100 * lasted) / whole}%`;
      line.append(bar);
    }
    const words = [time(step.at), step.upstreamStatus && `Segmind: ${step.upstreamStatus}`, sourceOf(step.source, step.state)];
    line.append(element("span", { className: "quiet", textContent: words.filter(Boolean).join(" · ") }));
    list.append(line);
  });
  return list;
}

// A file's name for the weights.
function fileOf(job) {
  return `${(job.displayName || "weights").replace(/[^\w.-]+/g, "-")}.safetensors`;
}

export function snippetsOf(job, id) {
  const goesOn = isActive(job.state);
  const shell = [`finetune get ${id}`];
  if (goesOn) shell.push(`finetune wait ${id}`, `finetune watch ${id}`);
  if (job.weightsUri) shell.push(`finetune download ${id} ${fileOf(job)}`);
  const python = ["from finetune_gateway import connect", "", 'with connect("finetune-gateway:50051") as gateway:'];
  const typescript = ['import { connect } from "@segmind/finetune-gateway";', "", 'const gateway = connect("finetune-gateway:50051");'];
  if (job.state === "AVAILABLE" || goesOn) {
    python.push(`    done = gateway.wait("${job.name}", until="AVAILABLE")`, `    print(gateway.download(done.name, "${fileOf(job)}").sha256)`);
    typescript.push(`const done = await gateway.wait("${job.name}", "AVAILABLE");`, `console.log((await gateway.download(done.name, "${fileOf(job)}")).sha256);`);
  } else {
    python.push(`    print(gateway.get("${job.name}"))`);
    typescript.push(`console.log(await gateway.get("${job.name}"));`);
  }
  return [["finetune", shell], ["Python", python], ["TypeScript", typescript]].map(([name, lines]) => ({ name, text: lines.join("\n") }));
}

// The clipboard is there on https and on localhost only.
async function copy(text, pre) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren(pre);
    if (!document.execCommand("copy")) return false;
  }
  return true;
}

function snippet({ name, text }, say) {
  const pre = element("pre", { tabIndex: 0 }, element("code", { textContent: text }));
  pre.setAttribute("role", "group");
  pre.ariaLabel = name;
  const button = element("button", { type: "button", textContent: "Copy" });
  button.ariaLabel = `Copy the lines for ${name}`;
  button.addEventListener("click", async () => {
    const copied = await copy(text, pre);
    button.textContent = copied ? "Copied" : "Select";
    say(copied ? "Copied" : "Selected: copy it with the keyboard");
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return element("div", { className: "snippet" }, element("div", { className: "quiet" }, name, button), pre);
}

export class JobView {
  #node = document.getElementById("job");
  #main = document.getElementById("main");
  #say;
  #closed;
  #clock;
  #id = "";
  #job;
  #revision = "";
  #request;

  // `clock` is the gateway's time; `closed` is called when the user closes the view.
  constructor({ say, clock, closed }) {
    this.#say = say;
    this.#clock = clock;
    this.#closed = closed;
    this.#node.addEventListener("click", (event) => event.target.closest(".close") && this.#closed());
  }

  get id() {
    return this.#id;
  }

  async open(id) {
    this.#id = id;
    this.#job = undefined;
    this.#revision = "";
    this.#main.classList.toggle("open", id !== "");
    this.#node.hidden = id === "";
    this.#request?.abort();
    if (!id) return this.#node.replaceChildren();
    await this.refresh();
    document.getElementById("job-title")?.focus();
  }

  // Reads the job anew, if it is another revision than what is shown.
  async refresh(revision) {
    if (!this.#id || (revision && revision === this.#revision)) return;
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    try {
      const answer = await fetch(`page/jobs/${encodeURIComponent(this.#id)}`, { signal: request.signal });
      const job = answer.ok ? await answer.json() : undefined;
      if (request.signal.aborted) return;
      if (!job && answer.status !== 404) return;
      this.#take(job);
    } catch {
      // The stream tells when the gateway is back.
    }
  }

  #take(job) {
    if (this.#job && job && this.#job.state !== job.state) this.#say(`${job.displayName || this.#id}: ${stateOf(job.state).word}`);
    this.#job = job;
    this.#revision = job?.revision ?? "";
    this.#show();
  }

  // Durations go on.
  tick() {
    const list = this.#node.querySelector("ol.history");
    if (this.#job && list && isActive(this.#job.state)) list.replaceWith(historyOf(this.#job, this.#clock()));
  }

  #show() {
    const job = this.#job;
    const focused = document.activeElement?.id === "job-title" || document.activeElement?.className === "close" ? document.activeElement : undefined;
    const title = this.#node.querySelector("#job-title") ?? element("h2", { id: "job-title", tabIndex: -1 });
    const close = this.#node.querySelector(".close") ?? element("button", { type: "button", className: "close", textContent: "Close" });
    title.textContent = job ? job.displayName || this.#id : this.#id;
    const head = element("div", { className: "title" }, title, close);
    if (!job) {
      this.#node.replaceChildren(head, element("p", { textContent: "There is no such job. It may have been forgotten." }));
    } else {
      this.#node.replaceChildren(head, ...this.#parts(job));
    }
    focused?.focus({ preventScroll: true });
  }

  #parts(job) {
    const state = stateOf(job.state);
    const word = element("span", { className: "state", textContent: state.word });
    word.dataset.tone = state.tone;
    const labels = Object.entries(job.labels ?? {}).map(([key, value]) => element("span", { className: "label", textContent: `${key}=${value}` }));
    const parts = [element("p", {}, word, ` ${state.means}`)];
    if (job.failure) {
      const box = element("div", { className: "failure" }, element("p", { textContent: failureOf(job.failure) }));
      if (job.failure.message) box.append(element("p", { className: "quiet", textContent: `Segmind's words: ${job.failure.message}` }));
      parts.push(box);
    }
    parts.push(facts([
      ["Id", element("code", { textContent: this.#id })],
      ["Segmind's id", job.upstreamId && job.upstreamId !== this.#id && element("code", { textContent: job.upstreamId })],
      ["Model", job.baseModel],
      ["Caller", job.creator],
      ["Created", job.createTime && `${time(Date.parse(job.createTime))}${job.createTimeEstimated ? " (first seen)" : ""}`],
      ["Ended", job.endTime && time(Date.parse(job.endTime))],
      ["Cost", costTextOf(job)],
      ["Prompt", job.instancePrompt],
      ["Labels", labels.length > 0 && element("span", {}, ...labels)],
    ]));
    parts.push(element("h3", { textContent: "History" }), historyOf(job, this.#clock()), element("p", { className: "quiet", textContent: `Times are those of ${ZONE}.` }));
    parts.push(element("h3", { textContent: "To type or to program" }), ...snippetsOf(job, this.#id).map((one) => snippet(one, this.#say)));
    return parts;
  }
}
