/** Images and predictions of the server, the last few of them kept. */

import { useEffect, useState } from "preact/hooks";
import { type Job, api, isAborted } from "./api";
import { Picture, Prediction } from "./model";

const KEPT_BYTES = 256 * 2 ** 20;

interface Entry<T> {
  promise: Promise<T>;
  value: T | null;
  stop: AbortController;
}

/** What was asked for last is kept, up to a number of bytes; what failed or was stopped is forgotten. */
class Kept<T extends { bytes: number }> {
  private readonly entries = new Map<string, Entry<T>>();

  get(key: string, load: (signal: AbortSignal) => Promise<T>): Entry<T> {
    const known = this.entries.get(key);
    if (known) {
      this.entries.delete(key);
      this.entries.set(key, known);
      return known;
    }
    const stop = new AbortController();
    const entry: Entry<T> = { promise: load(stop.signal), value: null, stop };
    this.entries.set(key, entry);
    entry.promise.then(
      (value) => {
        entry.value = value;
        this.trim();
      },
      () => this.entries.get(key) === entry && this.entries.delete(key),
    );
    return entry;
  }

  private trim(): void {
    let bytes = 0;
    for (const [key, { value }] of [...this.entries].reverse()) {
      bytes += value?.bytes ?? 0;
      if (value && bytes > KEPT_BYTES) this.entries.delete(key);
    }
  }

  peek(key: string): T | null {
    return this.entries.get(key)?.value ?? null;
  }

  /** Stops what is at work for a key. */
  stop(key: string): void {
    const entry = this.entries.get(key);
    if (entry && !entry.value) {
      this.entries.delete(key);
      entry.stop.abort();
    }
  }

  /** Stops all that is at work, but for the keys that begin by a word. */
  stopBut(word: string): void {
    for (const key of [...this.entries.keys()]) if (!key.startsWith(word)) this.stop(key);
  }
}

const pictures = new Kept<Picture>();
const predictions = new Kept<Prediction>();

const pictureOf = (image: number): Entry<Picture> =>
  pictures.get(String(image), async (signal) => new Picture(await api.image(image, signal)));
const predictionOf = (image: number, run: number): Entry<Prediction> =>
  predictions.get(`${image} ${run}`, async (signal) => new Prediction(await api.prediction(image, run, signal)));

/** Brings an image before it is asked for. */
export function prefetch(image: number, runs: readonly number[]): void {
  pictureOf(image).promise.catch(() => null);
  for (const run of runs) predictionOf(image, run).promise.catch(() => null);
}

export interface Loaded {
  picture: Picture | null;
  prediction: Prediction | null;
  error: string | null;
  stopped: boolean;
  stop: () => void;
  again: () => void;
}

/** An image and what a run predicts for it, as they come. Work for other images is stopped. */
export function useLoaded(image: number | null, run: number | null): Loaded {
  const key = `${image} ${run}`;
  const [tries, setTries] = useState(0);
  const [, setCame] = useState(0);
  const [fault, setFault] = useState<{ key: string; words: string | null } | null>(null);
  useEffect(() => {
    if (image === null || run === null) return;
    setFault(null);
    pictures.stopBut(String(image));
    predictions.stopBut(`${image} `);
    let isCurrent = true;
    const came = (): void => void (isCurrent && setCame((count) => count + 1));
    const failed = (one: unknown): void =>
      void (isCurrent && setFault({ key, words: isAborted(one) ? null : (one as Error).message }));
    pictureOf(image).promise.then(came, failed);
    predictionOf(image, run).promise.then(came, failed);
    return () => {
      isCurrent = false;
    };
  }, [key, tries]);
  const isFaulty = fault?.key === key;
  return {
    picture: pictures.peek(String(image)),
    prediction: predictions.peek(key),
    error: isFaulty ? fault.words : null,
    stopped: isFaulty && fault.words === null,
    stop: () => predictions.stop(key),
    again: () => setTries((count) => count + 1),
  };
}

/** The prediction at work for an image, for a bar of progress; null where there is none, or it is soon done. */
export function useJob(image: number | null, run: number, isWaiting: boolean): Job | null {
  const [job, setJob] = useState<Job | null>(null);
  useEffect(() => {
    setJob(null);
    if (!isWaiting || image === null) return;
    const timer = setInterval(async () => {
      const jobs = await api.jobs().catch(() => ({ jobs: [] as Job[] }));
      setJob(jobs.jobs.find((one) => one.image === image && one.run === run) ?? null);
    }, 300);
    return () => clearInterval(timer);
  }, [image, run, isWaiting]);
  return job;
}
