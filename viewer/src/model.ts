/** What was loaded, and what is drawn of it: computed when it is first asked for, and kept. */

import { type Bundle, type ImageMeta, type PredictionMeta, type Stored, planes } from "./api";
import { type Ring, boxOf, outline, outlineCounts, rings } from "./logic/contours";
import { BANDS, frequency } from "./logic/labels";
import { colours, paintMap, topOf } from "./logic/scale";
import type { MapName } from "./logic/view";
import { type Values, type Window, paint } from "./logic/window";
import type { Box } from "./logic/contours";

/** Lines with rounded corners: they pass the middle of each piece, so no point moves by more than a quarter of a pixel. */
function pathOf(lines: readonly Ring[]): Path2D {
  const path = new Path2D();
  for (const ring of lines) {
    const end = ring.length;
    path.moveTo((ring[end - 2] + ring[0]) / 2, (ring[end - 1] + ring[1]) / 2);
    for (let i = 0; i < end; i += 2) {
      const next = (i + 2) % end;
      path.quadraticCurveTo(ring[i], ring[i + 1], (ring[i] + ring[next]) / 2, (ring[i + 1] + ring[next + 1]) / 2);
    }
    path.closePath();
  }
  return path;
}

function canvasOf(width: number, height: number, fill: (rgba: Uint8ClampedArray) => void): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  const data = context.createImageData(width, height);
  fill(data.data);
  context.putImageData(data, 0, 0);
  return canvas;
}

/** One label map `(height, width)` with its outlines; `areas`, by class, are of all pixels of the image. */
export class LabelMap {
  private readonly paths = new Map<number, Path2D>();
  private present: boolean[] | null = null;

  constructor(
    readonly labels: Uint8Array,
    readonly width: number,
    readonly height: number,
    readonly areas: readonly number[],
  ) {}

  has(label: number): boolean {
    if (!this.present) {
      this.present = new Array<boolean>(256).fill(false);
      for (let i = 0; i < this.labels.length; i++) this.present[this.labels[i]] = true;
    }
    return this.present[label];
  }

  path(label: number): Path2D {
    let path = this.paths.get(label);
    if (!path) this.paths.set(label, (path = pathOf(outline(this.labels, this.width, this.height, label))));
    return path;
  }

  box(labels: readonly number[]): Box | null {
    const boxes = labels.map((label) => boxOf(this.labels, this.width, this.height, label)).filter((box) => box !== null);
    return boxes.length ? boxes.reduce(around) : null;
  }
}

export const around = (one: Box, other: Box): Box => ({
  left: Math.min(one.left, other.left),
  top: Math.min(one.top, other.top),
  right: Math.max(one.right, other.right),
  bottom: Math.max(one.bottom, other.bottom),
});

/** An image as it is stored, with its raters' label maps. */
export class Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: Values[];
  readonly raters: LabelMap[];
  readonly bytes: number;
  private painted: { key: string; canvas: HTMLCanvasElement } | null = null;

  constructor({ meta, arrays }: Bundle<ImageMeta>) {
    this.meta = meta;
    [this.height, this.width] = arrays.pixels.shape.slice(1);
    this.channels = planes(arrays.pixels);
    this.raters = arrays.raters
      ? planes<Uint8Array>(arrays.raters).map((labels, k) => new LabelMap(labels, this.width, this.height, meta.rater_areas[k]))
      : [];
    this.bytes = arrays.pixels.values.byteLength + (arrays.raters?.values.byteLength ?? 0);
  }

  readonly meta: ImageMeta;

  /** The window and level to begin with. */
  get whole(): Window {
    const low = Math.min(...this.meta.percentiles.map((pair) => pair[0]));
    const high = Math.max(...this.meta.percentiles.map((pair) => pair[1]));
    return { level: (low + high) / 2, width: Math.max(high - low, 1e-9) };
  }

  canvas(window: Window | null): HTMLCanvasElement {
    const key = window ? `${window.level} ${window.width}` : "";
    if (this.painted?.key !== key) {
      const canvas = canvasOf(this.width, this.height, (rgba) => paint(this.shown(), this.windows(window), rgba));
      this.painted = { key, canvas };
    }
    return this.painted.canvas;
  }

  /** Of two channels the brighter, the grey one, is first. */
  private shown(): Values[] {
    if (this.meta.display === "grey") return this.channels.slice(0, 1);
    if (this.meta.display === "rgb") return this.channels.slice(0, 3);
    return this.order.map((k) => this.channels[k]);
  }

  private get order(): number[] {
    const mean = (k: number): number => {
      const [low, high] = this.meta.percentiles[k];
      const values = this.channels[k];
      let sum = 0;
      for (let i = 0; i < values.length; i += 7) sum += Math.min(1, Math.max(0, (values[i] - low) / (high - low || 1)));
      return sum;
    };
    return mean(1) > mean(0) ? [1, 0] : [0, 1];
  }

  /** A window is of the first channel that is shown; those of the others change as much. */
  private windows(window: Window | null): Window[] {
    const pairs = this.meta.display === "two" ? this.order.map((k) => this.meta.percentiles[k]) : this.meta.percentiles;
    const own = pairs.map(([low, high]) => ({ level: (low + high) / 2, width: Math.max(high - low, 1e-9) }));
    const begin = this.meta.display === "two" ? own : own.map(() => this.whole);
    const spans = own.map((one) => one.width);
    const apart = this.meta.display === "rgb" && Math.max(...spans) >= 4 * Math.min(...spans);
    const starts = apart ? own : begin;
    if (!window) return starts;
    const whole = this.whole;
    const [shift, factor] = [(window.level - whole.level) / whole.width, window.width / whole.width];
    return starts.map((one) => ({ level: one.level + shift * one.width, width: one.width * factor }));
  }
}

const SCALE_OF = { mean: "viridis", entropy: "magma", mutual_information: "magma" } as const;

/** What a run predicts for an image. Positions are those of its window. */
export class Prediction {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly top: number;
  readonly samples: LabelMap[];
  readonly mostLikely: LabelMap;
  readonly bytes: number;
  private readonly counted = new Map<number, { share: number; path: Path2D }[]>();
  private readonly bandPaths = new Map<number, Path2D[]>();
  private readonly maps = new Map<string, HTMLCanvasElement>();
  private readonly tops = new Map<string, number>();

  constructor(private readonly bundle: Bundle<PredictionMeta>) {
    const { meta, arrays } = bundle;
    [this.height, this.width] = arrays.samples.shape.slice(1);
    this.left = meta.window.left / meta.step;
    this.top = meta.window.top / meta.step;
    this.samples = planes<Uint8Array>(arrays.samples).map((labels, k) => this.labelMap(labels, meta.areas[k]));
    this.mostLikely = this.labelMap(arrays.most_likely.values as Uint8Array, meta.mean_areas);
    this.bytes = Object.values(arrays).reduce((sum, { values }) => sum + values.byteLength, 0);
  }

  get meta(): PredictionMeta {
    return this.bundle.meta;
  }

  labelMap(labels: Uint8Array, areas: readonly number[]): LabelMap {
    return new LabelMap(labels, this.width, this.height, areas);
  }

  /** The place of a sample's reading among the readings. */
  readingOf(sample: number): number {
    return this.meta.readings.findIndex((reading) => reading.samples.includes(sample));
  }

  /** Samples in the order of the filmstrip: reading by reading. */
  get order(): number[] {
    return this.meta.readings.flatMap((reading) => [reading.medoid, ...reading.samples.filter((one) => one !== reading.medoid)]);
  }

  /** Outlines of all samples, by the share of samples that have them. */
  allOutlines(label: number): { share: number; path: Path2D }[] {
    let found = this.counted.get(label);
    if (!found) {
      const counts = outlineCounts(this.samples.map((one) => one.labels), this.width, this.height, label);
      found = counts.flatMap((pieces, count) => (pieces.length ? [{ share: count / this.samples.length, path: piecesPath(pieces) }] : []));
      this.counted.set(label, found);
    }
    return found;
  }

  /** Around the pixels that at least 5, 50 and 95 % of the samples mark. */
  bands(label: number): Path2D[] {
    let found = this.bandPaths.get(label);
    if (!found) {
      const share = frequency(this.samples.map((one) => one.labels), label);
      this.bandPaths.set(label, (found = BANDS.map((level) => pathOf(rings(share, this.width, this.height, level)))));
    }
    return found;
  }

  /** The end of a map's colour bar. */
  barTop(name: MapName, label: number): number {
    if (name === "mean") return 1;
    const key = `${name} ${label}`;
    let top = this.tops.get(key);
    if (top === undefined) {
      const { values, scale } = this.plane(name, label);
      this.tops.set(key, (top = topOf(values, scale, Math.log(this.bundle.arrays.mean.shape[0]))));
    }
    return top;
  }

  map(name: MapName, label: number, top: number): HTMLCanvasElement {
    const key = `${name} ${name === "mean" ? label : ""} ${top}`;
    let canvas = this.maps.get(key);
    if (!canvas) {
      const { values, scale } = this.plane(name, label);
      canvas = canvasOf(this.width, this.height, (rgba) => paintMap(values, scale, top, SCALE_OF[name], rgba));
      if (this.maps.size > 3) this.maps.clear();
      this.maps.set(key, canvas);
    }
    return canvas;
  }

  /** The value of a map at a pixel. */
  valueAt(name: MapName, label: number, x: number, y: number): number {
    const { values, scale } = this.plane(name, label);
    return values[y * this.width + x] * scale;
  }

  private plane(name: MapName, label: number): Stored {
    const stored = this.bundle.arrays[name];
    return name === "mean" ? { ...stored, values: planes(stored)[label] } : stored;
  }
}

function piecesPath(pieces: Float32Array): Path2D {
  const path = new Path2D();
  for (let i = 0; i < pieces.length; i += 4) {
    path.moveTo(pieces[i], pieces[i + 1]);
    path.lineTo(pieces[i + 2], pieces[i + 3]);
  }
  return path;
}

/** A colour bar, 256 wide and one high. */
export function barCanvas(name: MapName): HTMLCanvasElement {
  const table = colours(SCALE_OF[name]);
  return canvasOf(256, 1, (rgba) => {
    for (let i = 0; i < 256; i++) rgba.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
  });
}

/** A square of the picture with all that samples and raters mark, and room around it; the whole where that is most of it. */
export function regionOf(picture: Picture, prediction: Prediction | null, labels: readonly number[]): Box {
  const whole = { left: 0, top: 0, right: picture.width, bottom: picture.height };
  const shift = (box: Box | null, x: number, y: number): Box | null =>
    box && { left: box.left + x, top: box.top + y, right: box.right + x, bottom: box.bottom + y };
  const boxes = [
    ...picture.raters.map((map) => map.box(labels)),
    ...(prediction ? prediction.samples.map((map) => shift(map.box(labels), prediction.left, prediction.top)) : []),
  ].filter((box) => box !== null);
  if (!boxes.length) return whole;
  const box = boxes.reduce(around);
  const side = Math.max(1.5 * Math.max(box.right - box.left, box.bottom - box.top), Math.min(picture.width, picture.height) / 4);
  if (side > 0.75 * Math.min(picture.width, picture.height)) return whole;
  const start = (low: number, high: number, end: number): number => Math.max(0, Math.min(end - side, (low + high - side) / 2));
  const [left, top] = [start(box.left, box.right, picture.width), start(box.top, box.bottom, picture.height)];
  return { left, top, right: left + side, bottom: top + side };
}
