/** The server's interface, as `viewer/API.md` has it. */

import type { Choice } from "./logic/choice";
import type { Values } from "./logic/window";

export interface Run {
  id: number;
  name: string;
  method: string;
  summary: string;
  steps: number | null;
  undertrained: boolean;
}

export interface ClassInfo {
  name: string;
  colour: string;
  counted: boolean;
  value: number;
}

export interface Session {
  version: string;
  runs: Run[];
  num_samples: number;
  seed: number;
  classes: ClassInfo[];
  has_background: boolean;
  is_binary: boolean;
  colours: { sample: string; palette: string[] };
  raters: { name: string; colour: string }[];
  data: { state: "opening" | "ready" | "failed"; error: string | null; name: string; num_images: number; has_raters: boolean; notes: string[] };
  sorts: string[];
  saving: { folder: string };
  limits: { upload_bytes: number; upload_pixels: number; uploads: number };
}

export interface Scores {
  disagreement: number | null;
  quality: number | null;
  entropy: number | null;
  ged: number | null;
  ged_oracle: number | null;
  readings: number[];
}

export interface Row {
  id: number;
  name: string;
  upload: boolean;
  labelled: boolean;
  scores: Scores | null;
  saved: { choice: Choice; file: string } | null;
}

export interface Page {
  total: number;
  revision: number;
  scored: number;
  images: Row[];
}

export interface Position {
  position: number | null;
  total: number;
  previous: number | null;
  next: number | null;
}

export interface PixelSize {
  height: number;
  width: number;
  unit: string;
}

export interface ImageMeta {
  id: number;
  name: string;
  size: [number, number];
  step: number;
  channels: string[];
  display: "grey" | "rgb" | "two";
  range: [number, number][];
  percentiles: [number, number][];
  raters: { index: number; name: string; colour: string }[];
  rater_areas: number[][];
  note: string | null;
  pixel_size: PixelSize | null;
}

export interface Reading {
  share: number;
  medoid: number;
  samples: number[];
  mean_distance: number;
  areas: [number, number][];
  empty: boolean;
}

export interface PredictionMeta {
  id: number;
  run: number;
  name: string;
  num_samples: number;
  size: [number, number];
  step: number;
  window: { top: number; left: number; height: number; width: number };
  outside: string;
  readings: Reading[];
  areas: number[][];
  mean_areas: number[];
  scores: Scores;
  seconds: number;
  latent: null | "vector" | "scales";
}

export type Latent =
  | { kind: null }
  | {
      kind: "vector";
      dims: number;
      axes: [number, number];
      names: [string, string];
      limit: number;
      samples: [number, number][];
      raters: { index: number; mean: [number, number]; sigma: [number, number] }[];
    }
  | { kind: "scales"; levels: { name: string; shape: number[]; pixels: number[] }[] };

export interface Job {
  image: number;
  run: number;
  phase: string;
  done: number;
  total: number;
}

export interface Saved {
  file: string;
  record: string;
  undo: number;
}

export interface Stored {
  values: Values;
  shape: number[];
  scale: number;
}

export interface Bundle<Meta> {
  meta: Meta;
  arrays: Record<string, Stored>;
}

/** A request that the server refused, with its sentence for people. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly exists: boolean,
  ) {
    super(message);
  }
}

export const isAborted = (fault: unknown): boolean =>
  (fault instanceof DOMException && fault.name === "AbortError") || (fault instanceof Refused && fault.status === 499);

const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));
const PATIENCE = 60;

async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  for (let tries = 0; ; tries++) {
    let answer: Response;
    try {
      answer = await fetch(path, { credentials: "same-origin", ...options });
    } catch (fault) {
      if (isAborted(fault)) throw fault;
      throw new Refused("The viewer's server does not answer: is `plurimask view` still running?", 0, false);
    }
    if (answer.ok) return answer;
    if (answer.status === 503 && tries < PATIENCE) {
      await pause(1000 * Number(answer.headers.get("Retry-After") ?? 1));
      continue;
    }
    throw refusal(await answer.text(), answer.status);
  }
}

function refusal(body: string, status: number): Refused {
  try {
    const said = JSON.parse(body) as { error: string; exists?: boolean };
    return new Refused(said.error, status, said.exists === true);
  } catch {
    return new Refused(`The server answered ${status}.`, status, false);
  }
}

const words = (parameters: Record<string, string | number | null | undefined>): string => {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
};

const json = async <T>(path: string, options?: RequestInit): Promise<T> => (await ask(path, options)).json() as Promise<T>;

const post = <T>(path: string, body: unknown): Promise<T> =>
  json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

const bundle = async <Meta>(path: string, signal?: AbortSignal): Promise<Bundle<Meta>> =>
  unpack<Meta>(await (await ask(path, { signal })).arrayBuffer());

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

/** Bytes of a bundle -> its arrays, which are views into the same bytes. */
export function unpack<Meta>(buffer: ArrayBuffer): Bundle<Meta> {
  if (new TextDecoder().decode(new Uint8Array(buffer, 0, 4)) !== "PLM1") throw new Error("not a bundle");
  const length = new DataView(buffer).getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))) as {
    meta: Meta;
    arrays: Record<string, { dtype: keyof typeof TYPES; shape: number[]; offset: number; scale?: number }>;
  };
  const arrays: Record<string, Stored> = {};
  for (const [name, { dtype, shape, offset, scale }] of Object.entries(head.arrays)) {
    const count = shape.reduce((product, side) => product * side, 1);
    arrays[name] = { values: new TYPES[dtype](buffer, 8 + length + offset, count), shape, scale: scale ?? 1 };
  }
  return { meta: head.meta, arrays };
}

/** An array `(N, height, width)` -> N planes, without a copy. */
export function planes<T extends Values>(stored: Stored): T[] {
  const [count] = stored.shape;
  const size = stored.values.length / count;
  return Array.from({ length: count }, (_, k) => stored.values.subarray(k * size, (k + 1) * size) as T);
}

export const api = {
  session: () => json<Session>("/api/session"),
  images: (query: { run: number; sort: string; search: string; offset: number; limit: number }) =>
    json<Page>(`/api/images?${words(query)}`),
  position: (image: number, query: { run: number; sort: string; search: string }) =>
    json<Position>(`/api/position?${words({ image, ...query })}`),
  image: (image: number, signal?: AbortSignal) => bundle<ImageMeta>(`/api/images/${image}/image`, signal),
  prediction: (image: number, run: number, signal?: AbortSignal) =>
    bundle<PredictionMeta>(`/api/images/${image}/prediction?run=${run}`, signal),
  jobs: () => json<{ jobs: Job[]; waiting: number }>("/api/jobs"),
  latent: (image: number, run: number) => json<Latent>(`/api/images/${image}/latent?run=${run}`),
  decode: (image: number, run: number, choice: Choice) => {
    const query =
      choice.kind === "latent"
        ? { run, x: choice.x.toFixed(4), y: choice.y.toFixed(4), base: choice.base }
        : { run, levels: choice.kind === "scales" ? choice.levels.map((level) => level ?? "m").join(",") : "" };
    return bundle<{ areas: number[] }>(`/api/images/${image}/decode?${words(query)}`);
  },
  preview: (image: number, run: number, choice: Choice) =>
    bundle<{ areas: number[] }>(`/api/images/${image}/preview?${words({ run, choice: JSON.stringify(choice) })}`),
  save: (image: number, run: number, choice: Choice, overwrite: boolean) =>
    post<Saved>(`/api/images/${image}/save`, { run, choice, overwrite }),
  undo: () => post<{ image: number; restored: boolean; left: number }>("/api/undo", {}),
  thumbnail: (image: number, run: number, revision: number) => `/api/images/${image}/thumbnail?${words({ run, v: revision })}`,
};

/** Sends a file; `onShare` is told how much of it has gone, 0 to 1. */
export function upload(file: File, onShare: (share: number) => void, signal: AbortSignal): Promise<{ id: number; name: string }> {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/uploads?${words({ name: file.name })}`);
    request.upload.onprogress = (event) => onShare(event.lengthComputable ? event.loaded / event.total : 0);
    request.onload = () =>
      request.status === 201 ? done(JSON.parse(request.responseText)) : failed(refusal(request.responseText, request.status));
    request.onerror = () => failed(new Refused("The file could not be sent.", 0, false));
    request.onabort = () => failed(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
