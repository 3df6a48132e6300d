import { type FineTune, FineTune_State as State } from "./proto/segmind/finetune/v1/fine_tune.js";

/** A state by its name or its number. */
export type StateLike = keyof typeof State | State;

/** Whether a job in this state has ended. A state that this version does not know has not. */
export function isTerminal(state: State): boolean {
  return state === State.AVAILABLE || state === State.FAILED || state === State.LOST || state === State.CANCELLED;
}

/** Whether a job in `state` has reached `wanted`, itself or a later stage of success. */
export function hasReached(state: State, wanted: State): boolean {
  return state === wanted || (wanted !== State.SUBMIT_UNKNOWN && wanted < state && state <= State.AVAILABLE);
}

/** The state's name, or its number if this version does not know it. */
export function stateName(state: State): string {
  return State[state] ?? String(state);
}

export function stateOf(state: StateLike): State {
  if (typeof state === "number") return state;
  const found = State[state.toUpperCase() as keyof typeof State];
  if (found === undefined) {
    const known = Object.keys(State).filter((name) => Number.isNaN(Number(name)) && name !== "STATE_UNSPECIFIED" && name !== "UNRECOGNIZED");
    throw new TypeError(`there is no state '${state}'; there are ${known.join(", ")}`);
  }
  return found;
}

type Partly<T> = T extends Date | Uint8Array | bigint | string | number | boolean | undefined ? T
  : T extends (infer Item)[] ? Partly<Item>[]
  : { [Key in keyof T]?: Partly<T[Key]> };

/** The fields of a job that is to be submitted; those that are not given are left to the gateway and to Segmind. */
export type FineTuneFields = Partly<FineTune>;
