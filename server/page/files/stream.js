// The gateway's watch stream: opens it, resumes it after a break, and lets go of it while nobody looks.

const SILENCE = 35_000; // A heartbeat comes every 10 s.
const UNSEEN = 60_000;
const EVENTS = ["change", "synced", "heartbeat", "restart", "status"];

export class Stream {
  #url;
  #on;
  #source;
  #token = "";
  #tries = 0;
  #retry;
  #watchdog;
  #unseen;

  // `on` has a function for each event, which is given its data, and opened(resumes), broken(ms) and paused().
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
    window.addEventListener("online", () => this.#source || this.#open());
    this.#open();
  }

  #open() {
    clearTimeout(this.#retry);
    this.#source?.close();
    const url = this.#token ? `${this.#url}?resume=${encodeURIComponent(this.#token)}` : this.#url;
    const source = new EventSource(url);
    this.#source = source;
    source.onopen = () => {
      this.#on.opened(this.#token !== "");
      this.#alive();
    };
    source.onerror = () => this.#broke();
    for (const name of EVENTS) source.addEventListener(name, (event) => this.#take(name, event));
    this.#alive();
  }

  #take(name, event) {
    // An id that is empty makes the token void: what follows is a snapshot.
    if (name === "restart") this.#token = "";
    else if (event.lastEventId) this.#token = event.lastEventId;
    this.#tries = 0;
    this.#alive();
    this.#on[name]?.(JSON.parse(event.data));
  }

  #alive() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#broke(), SILENCE);
  }

  #close() {
    clearTimeout(this.#watchdog);
    this.#source?.close();
    this.#source = undefined;
  }

  #broke() {
    this.#close();
    // At once the first time, of which nobody need know: streams end at a certain age. Then less and less often, and not all
    // pages together.
    const wait = Math.min(10_000, 250 * 2 ** this.#tries) * (0.75 + Math.random() / 2);
    if (this.#tries++ > 0) this.#on.broken(wait);
    this.#retry = setTimeout(() => this.#open(), wait);
  }

  #visibilityChanged() {
    clearTimeout(this.#unseen);
    if (document.visibilityState === "hidden") {
      this.#unseen = setTimeout(() => {
        clearTimeout(this.#retry);
        this.#close();
        this.#on.paused();
      }, UNSEEN);
    } else if (!this.#source) {
      this.#open();
    }
  }
}
