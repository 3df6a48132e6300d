// The table of jobs: only the rows that can be seen are in the document, however many there are.

import { age, stateOf } from "./words.js";

const BEYOND = 8; // Rows kept above and below what can be seen.

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
export { element };

class Row {
  constructor(open) {
    this.link = element("a", { tabIndex: -1 });
    this.link.addEventListener("click", (event) => {
      event.preventDefault();
      open(this.id);
    });
    this.state = element("span", { className: "state" });
    this.model = element("td", { className: "wide model" });
    this.labels = element("td", { className: "wide" });
    this.creator = element("td", { className: "wide" });
    this.age = element("td", { className: "number" });
    this.node = element("tr", {}, element("td", {}, this.link), element("td", {}, this.state), this.model, this.labels, this.creator, this.age);
    this.node.addEventListener("click", (event) => event.target.closest("a") ?? open(this.id));
  }

  show(row, index, now, chosen, focusable) {
    this.node.ariaRowIndex = String(index + 2);
    this.node.classList.toggle("chosen", chosen);
    this.link.tabIndex = focusable ? 0 : -1;
    if (chosen) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
    const old = age(now - row.created);
    if (this.age.textContent !== old) this.age.textContent = row.created ? old : "";
    if (this.row === row) return;
    const changed = this.row?.id === row.id && this.row.state !== row.state;
    this.row = row;
    this.id = row.id;
    const state = stateOf(row.state);
    this.link.textContent = row.name;
    this.link.href = `#${row.id}`;
    this.link.title = row.id;
    this.state.textContent = state.word;
    this.state.dataset.tone = state.tone;
    this.model.textContent = row.model;
    this.creator.textContent = row.creator;
    this.labels.replaceChildren(...row.labels.map((label) => element("span", { className: "label", textContent: label })));
    this.labels.title = row.labels.join(" ");
    this.node.classList.remove("changed");
    if (changed) requestAnimationFrame(() => this.node.classList.add("changed"));
  }
}

export class Table {
  #scroll = document.getElementById("scroll");
  #table = document.getElementById("table");
  #body = document.getElementById("rows");
  #above = element("tr", { className: "space", ariaHidden: "true" }, element("td"));
  #below = element("tr", { className: "space", ariaHidden: "true" }, element("td"));
  #shown = new Map(); // By job.
  #rows = [];
  #at = 0; // The row that Tab reaches.
  #atId = "";
  #chosen = "";
  #open;
  #rowHeight = 0;
  #due = 0;

  constructor(open) {
    this.#open = open;
    this.#body.append(this.#above, this.#below);
    this.#scroll.addEventListener("scroll", () => this.#schedule(), { passive: true });
    new ResizeObserver(() => this.#schedule()).observe(this.#scroll);
    this.#body.addEventListener("keydown", (event) => this.#keyDown(event));
    this.#body.addEventListener("focusin", (event) => {
      const id = event.target.closest("tr")?.id.slice(4);
      const index = this.#rows.findIndex((row) => row.id === id);
      if (index >= 0) this.#moveTo(index, false);
    });
  }

  show(rows, chosen) {
    this.#rows = rows;
    this.#chosen = chosen;
    // The same job stays the one that Tab reaches, wherever it is now.
    if (rows[this.#at]?.id !== this.#atId) {
      const index = rows.findIndex((row) => row.id === this.#atId);
      this.#at = index >= 0 ? index : Math.min(this.#at, Math.max(0, rows.length - 1));
      this.#atId = rows[this.#at]?.id ?? "";
    }
    this.#table.ariaRowCount = String(rows.length + 1);
    this.render();
  }

  // Where the keyboard was before a job was opened.
  focus() {
    if (this.#rows.length > 0) this.#moveTo(this.#at, true);
  }

  render() {
    cancelAnimationFrame(this.#due);
    this.#due = 0;
    this.#rowHeight ||= parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
    const height = this.#rowHeight;
    const first = Math.max(0, Math.floor(this.#scroll.scrollTop / height) - BEYOND);
    const last = Math.min(this.#rows.length, Math.ceil((this.#scroll.scrollTop + this.#scroll.clientHeight) / height) + BEYOND);
    const focused = document.activeElement?.closest?.("#rows tr")?.id.slice(4);
    const wanted = new Map(this.#rows.slice(first, last).map((row, i) => [row.id, first + i]));
    const spare = [];
    for (const [id, shown] of this.#shown) {
      if (wanted.has(id)) continue;
      this.#shown.delete(id);
      spare.push(shown);
    }
    const now = Date.now();
    let before = this.#above;
    for (const [id, index] of wanted) {
      let shown = this.#shown.get(id);
      if (!shown) {
        shown = spare.pop() ?? new Row(this.#open);
        shown.row = undefined;
        shown.node.id = `row-${id}`;
        this.#shown.set(id, shown);
      }
      shown.show(this.#rows[index], index, now, id === this.#chosen, index === this.#at);
      if (before.nextSibling !== shown.node) before.after(shown.node);
      before = shown.node;
    }
    for (const { node } of spare) node.remove();
    this.#above.style.height = `${first * height}px`;
    this.#below.style.height = `${(this.#rows.length - last) * height}px`;
    // A row that was moved in the document has lost the focus.
    const link = focused && this.#shown.get(focused)?.link;
    if (link && document.activeElement !== link) link.focus({ preventScroll: true });
    else if (focused && !link && document.activeElement === document.body) this.#scroll.focus({ preventScroll: true });
  }

  #schedule() {
    this.#due ||= requestAnimationFrame(() => this.render());
  }

  #moveTo(index, focus) {
    this.#at = Math.max(0, Math.min(index, this.#rows.length - 1));
    this.#atId = this.#rows[this.#at]?.id ?? "";
    if (focus) {
      const top = this.#at * this.#rowHeight;
      const room = this.#scroll.clientHeight - 2 * this.#rowHeight; // Without the head.
      if (top < this.#scroll.scrollTop) this.#scroll.scrollTop = top;
      else if (top > this.#scroll.scrollTop + room) this.#scroll.scrollTop = top - room;
    }
    this.render();
    if (focus) this.#shown.get(this.#atId)?.link.focus({ preventScroll: true });
  }

  #keyDown(event) {
    const page = Math.max(1, Math.floor(this.#scroll.clientHeight / this.#rowHeight) - 2);
    const steps = { ArrowDown: this.#at + 1, ArrowUp: this.#at - 1, PageDown: this.#at + page, PageUp: this.#at - page, Home: 0, End: this.#rows.length - 1 };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#moveTo(steps[event.key], true);
  }
}
