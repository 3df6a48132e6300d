// All jobs, as the stream tells them, and which of them are wanted.

import { isActive } from "./words.js";

function rowOf(job) {
  const id = job.name.replace("fineTunes/", "");
  const labels = Object.entries(job.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  const words = [job.name, job.displayName, job.baseModel, job.creator, job.state, job.upstreamStatus, job.upstreamId, job.failure?.message, ...labels];
  return {
    id, labels,
    name: job.displayName || id,
    state: job.state,
    model: job.baseModel ?? "",
    creator: job.creator ?? "",
    created: Date.parse(job.createTime ?? job.updateTime ?? 0) || 0,
    revision: job.revision,
    text: words.filter(Boolean).join("\n").toLowerCase(),
    seen: 0,
  };
}

// A search: every word must be found; key=value must be a label, whole.
function matcher(search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => words.every((word) => (word.includes("=") ? row.labels.some((label) => label.toLowerCase() === word) : row.text.includes(word)));
}

export class Jobs {
  #rows = new Map();
  #order = [];
  #sorted = true;
  #generation = 0;
  #restarted = true;

  get size() {
    return this.#rows.size;
  }

  row(id) {
    return this.#rows.get(id);
  }

  // A snapshot begins: what it does not hold is forgotten at its end.
  restart() {
    this.#generation++;
    this.#restarted = true;
  }

  // One change; the row that it left, or undefined for a job that is gone.
  apply({ type, fineTune }) {
    const row = rowOf(fineTune);
    row.seen = this.#generation;
    const before = this.#rows.get(row.id);
    if (type === "LEFT_FILTER") {
      this.#rows.delete(row.id);
      if (before) this.#unsort();
      return undefined;
    }
    this.#rows.set(row.id, row);
    if (before && before.created === row.created && this.#sorted) this.#order[this.#place(row)] = row;
    else this.#unsort();
    return row;
  }

  // The snapshot is complete.
  synced() {
    if (!this.#restarted) return;
    this.#restarted = false;
    for (const [id, row] of this.#rows) if (row.seen !== this.#generation) this.#rows.delete(id);
    this.#unsort();
  }

  // Those that are wanted, the newest first, and how many are in each state.
  select(search, state) {
    if (!this.#sorted) {
      this.#order = [...this.#rows.values()].sort(newestFirst);
      this.#sorted = true;
    }
    const matches = matcher(search);
    const counts = new Map();
    const rows = [];
    for (const row of this.#order) {
      if (!matches(row)) continue;
      counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
      if (!state || row.state === state || (state === "active" && isActive(row.state))) rows.push(row);
    }
    return { rows, counts };
  }

  #unsort() {
    this.#sorted = false;
  }

  #place(row) {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (newestFirst(this.#order[middle], row) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function newestFirst(a, b) {
  return b.created - a.created || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
