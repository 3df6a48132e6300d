// The page: the stream on one side, what is seen on the other.

import { Jobs } from "./jobs.js";
import { JobView } from "./job.js";
import { Stream } from "./stream.js";
import { element, Table } from "./table.js";
import { costsOf, duration, number, STATES, stateOf, UPSTREAMS } from "./words.js";

const byId = (id) => document.getElementById(id);
const search = byId("search");
const state = byId("state");
const WHILE_LOADING = 250; // ms between two looks at a snapshot that comes.

const jobs = new Jobs();
let status = {};
let ahead = 0; // How far the gateway's clock is ahead of this machine's, ms.
let live = false;
let heard = false; // Whether `status` is the gateway's latest word, and not from before the connection broke.
let loading = true;
let lastShown = 0;
let due = 0;

const clock = () => Date.now() + ahead;
const counted = (n) => (n === 1 ? "1 job" : `${number(n)} jobs`);
const say = (text) => (byId("said").textContent = text);
const idInAddress = () => decodeURIComponent(location.hash.slice(1)).replace(/^jobs$/, "");

const view = new JobView({ say, clock, closed: () => choose("") });
const table = new Table((id) => choose(id));

// ---- What is seen ----

function show() {
  due = 0;
  lastShown = performance.now();
  const { rows, counts } = jobs.select(search.value, state.value);
  table.show(rows, view.id);
  const all = [...counts.values()].reduce((sum, n) => sum + n, 0);
  byId("count").textContent = rows.length === jobs.size ? counted(jobs.size) : `${number(rows.length)} of ${counted(jobs.size)}`;
  byId("empty").hidden = rows.length > 0;
  byId("empty").textContent = loading ? "Loading …" : jobs.size > 0 ? "No job matches." : "There are no jobs yet. finetune create makes one.";
  showStates(counts, all);
}

// Not more often than the screen, and seldom while thousands arrive.
function changed() {
  if (due) return;
  const wait = loading ? Math.max(0, lastShown + WHILE_LOADING - performance.now()) : 0;
  due = setTimeout(() => requestAnimationFrame(show), wait);
}

function showStates(counts, all) {
  const active = [...counts].reduce((sum, [name, n]) => sum + (stateOf(name).tone === "active" ? n : 0), 0);
  const wanted = [["", "All", all], ["active", "Active", active]];
  for (const name of new Set([...Object.keys(STATES), ...counts.keys()])) {
    const count = counts.get(name) ?? 0;
    if (count > 0 || state.value === name) wanted.push([name, stateOf(name).word, count]);
  }
  const texts = wanted.map(([, word, count]) => `${word} (${number(count)})`);
  const options = [...state.options];
  if (options.length === wanted.length && options.every((option, i) => option.value === wanted[i][0])) {
    options.forEach((option, i) => option.text === texts[i] || (option.text = texts[i]));
    return;
  }
  const chosen = state.value;
  state.replaceChildren(...wanted.map(([value], i) => element("option", { value, text: texts[i] })));
  state.value = chosen;
}

function showGateway() {
  const upstream = UPSTREAMS[status.upstreamState] ?? { word: "Unknown", tone: "active" };
  const health = upstream.means ? `${upstream.word}: ${upstream.means}` : upstream.word;
  const read = status.observeTime ? `${duration(clock() - Date.parse(status.observeTime))} ago` : "not yet";
  const webhook = status.lastWebhookTime ? `${duration(clock() - Date.parse(status.lastWebhookTime))} ago` : "none yet";
  const pairs = [
    // What is not heard any more is not so.
    ["Segmind", heard ? health : `${health} (when last heard)`, heard ? upstream.tone : ""],
    ["Last read", read],
    ["Last webhook", webhook],
    ["Calls left this minute", heard ? number(status.upstreamCallsLeft) : "unknown"],
    ["Credits left", status.credits ? number((status.credits.micros ?? 0) / 1e6) : "unknown"],
    ["Active", number(status.activeFineTuneCount)],
    ["Watchers", number(status.watcherCount)],
    ["Replica", status.replica ?? ""],
    ["Version", status.version ?? ""],
  ];
  const list = byId("gateway");
  if (list.children.length === 0) list.append(...pairs.map(([name]) => element("div", {}, element("dt", { textContent: name }), element("dd"))));
  pairs.forEach(([, text, tone = ""], i) => {
    const value = list.children[i].lastChild;
    if (value.textContent !== text) value.textContent = text;
    value.dataset.tone = tone;
  });
  showReplicas();
}

// Of those that share the record: there is nothing to say of one gateway with a file.
function showReplicas() {
  const replicas = status.replicas ?? [];
  byId("fleet").hidden = replicas.length === 0;
  byId("unread").hidden = !heard || replicas.some((replica) => replica.leader);
  byId("replicas").replaceChildren(...replicas.map((replica) => {
    // Of itself alone a replica knows how far it is behind.
    const isThis = replica.name === status.replica;
    const leads = replica.leader ? "yes" : "–";
    const started = replica.startTime ? `${duration(clock() - Date.parse(replica.startTime))} ago` : "";
    const upToDate = isThis && status.storeLag ? `${duration(parseFloat(status.storeLag) * 1000)} ago` : "–";
    const cells = [[isThis ? `${replica.name} (this one)` : replica.name, ""], [heard ? leads : "unknown", ""], [replica.version ?? "", "wide"],
      [started, "wide number"], [upToDate, "number"]];
    return element("tr", {}, ...cells.map(([textContent, className]) => element("td", { textContent, className })));
  }));
}

function connection(name, text) {
  const node = byId("connection");
  node.dataset.state = name;
  if (node.textContent !== text) node.textContent = text;
}

// ---- What was spent ----

let spent = "";
async function showSpending() {
  if (document.hidden) return;
  const answer = await fetch("page/spending").catch(() => null);
  if (!answer?.ok) return;
  const said = await answer.text();
  if (said === spent) return;
  spent = said;
  const rows = JSON.parse(said).rows ?? [];
  const cell = (textContent) => element("td", { className: "number", textContent });
  byId("spent").replaceChildren(...rows.map((row) => element("tr", {},
    element("th", { scope: "row", textContent: row.group || "(no team)" }), cell(number(row.jobs)), cell(number(row.failedJobs)),
    cell(number(row.unpricedJobs)), cell(costsOf(row.costs)), cell(costsOf(row.failedCosts)))));
  byId("spending").hidden = rows.length === 0;
}

// ---- What is chosen ----

function choose(id) {
  if (idInAddress() !== id) history.pushState(null, "", id ? `#${id}` : location.pathname + location.search);
  follow();
}

async function follow() {
  const id = idInAddress();
  if (id === view.id) return;
  const opened = view.open(id);
  show();
  await opened;
  if (!id) table.focus();
}

addEventListener("popstate", follow);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && view.id) choose("");
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
});
byId("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  table.focus();
});
search.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown") return;
  event.preventDefault();
  table.focus();
});
byId("filters").addEventListener("input", () => {
  show();
  say(byId("count").textContent);
});

// ---- What the gateway says ----

new Stream("page/events", {
  opened(resumes) {
    live = resumes;
    if (!resumes) jobs.restart();
    loading = !resumes;
    if (!resumes) connection("connecting", "Loading …");
    view.refresh();
  },
  restart() {
    jobs.restart();
    live = false;
    loading = true;
  },
  change({ change }) {
    const row = jobs.apply(change);
    if (view.id && change.fineTune.name === `fineTunes/${view.id}` && change.type !== "SNAPSHOT") view.refresh(row?.revision ?? "gone");
    changed();
  },
  synced() {
    jobs.synced();
    caughtUp();
  },
  heartbeat: caughtUp,
  status(said) {
    status = said.status;
    heard = true;
    ahead = Date.parse(said.now.observeTime) - Date.now();
    showGateway();
  },
  broken(wait) {
    live = heard = false;
    connection("broken", wait > 4000 ? "The gateway does not answer, or has as many pages open as it may: trying again" : "The connection broke: trying again");
  },
  paused() {
    live = heard = false;
    connection("connecting", "Paused while nobody looks");
  },
});

function caughtUp() {
  loading = false;
  live = true;
  connection("live", "Live");
  changed();
}

setInterval(() => {
  if (status.version) showGateway();
  table.render();
  view.tick();
}, 1000);

setInterval(showSpending, 10000);

show();
follow();
// The gateway looks into its record when it is asked; the second time it knows.
showSpending().then(() => setTimeout(showSpending, 1000));
