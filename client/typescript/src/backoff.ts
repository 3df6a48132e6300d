/**
 * The waits between attempts: exponential, spread by up to a quarter either way, so that clients that lost one server do not
 * return together. Milliseconds.
 */
export class Backoff {
  #next: number;

  constructor(private readonly initial = 100, private readonly maximum = 20_000) {
    this.#next = initial;
  }

  /** At least `asked`, which is what the server wants. */
  next(asked?: number): number {
    const own = this.#next * (0.75 + Math.random() / 2);
    this.#next = Math.min(this.maximum, 2 * this.#next);
    return asked === undefined ? own : Math.max(own, asked * (1 + Math.random() / 4));
  }

  /** After a success. */
  reset(): void {
    this.#next = this.initial;
  }
}

/** Rejects with the signal's reason when that comes first. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
