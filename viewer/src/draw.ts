/** Painting a picture with its masks, in the order: image, map, bands, all outlines, raters, the mask that is shown. */

import type { Session } from "./api";
import type { LabelMap, Picture, Prediction } from "./model";
import type { Layer, MapName } from "./logic/view";
import type { Window } from "./logic/window";
import type { Placement } from "./logic/zoom";

export interface Scene {
  session: Session;
  picture: Picture;
  prediction: Prediction | null;
  shown: LabelMap | null;
  layers: readonly Layer[];
  map: { name: MapName; top: number; opacity: number } | null;
  label: number; // the class of maps, bands and all outlines
  hidden: readonly number[];
  rater: number | null; // the one that is pointed at
  window: Window | null;
  isSmall?: boolean; // a tile: thinner lines, and of several classes none
}

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

const BAND_FILLS = [0.1, 0.14, 0.22];
const PIXELS_FROM = 24; // screen pixels of a pixel of the image, from which on it is a square
const HALO = "rgba(0, 0, 0, 0.55)";

/** The classes that masks are drawn of. */
export function drawnClasses(session: Session, hidden: readonly number[]): number[] {
  return session.classes.map((_, k) => k).filter((k) => !(session.has_background && k === 0) && !hidden.includes(k));
}

export const colourOf = (session: Session, label: number): string =>
  session.is_binary ? session.colours.sample : session.classes[label].colour;

/** Paints a scene; `ratio` is how many pixels of the canvas are one of the page. */
export function draw(context: CanvasRenderingContext2D, scene: Scene, place: Placement, ratio: number): void {
  drawGround(context, scene, place, ratio);
  drawShown(context, scene, place, ratio);
}

const KEPT_BYTES = 96 * 2 ** 20;
const whenIdle = (work: () => void): number => ("requestIdleCallback" in window ? requestIdleCallback(work) : setTimeout(work, 30)) as number;
const forget = (work: number): void => ("cancelIdleCallback" in window ? cancelIdleCallback(work) : clearTimeout(work));

/**
 * Paints scenes on one canvas, so that samples can be flipped through at every frame: what is below the mask is painted once, and
 * the samples' masks while nothing else is to be done.
 */
export class Painter {
  private readonly ground = document.createElement("canvas").getContext("2d")!;
  private readonly masks = new Map<LabelMap, ImageBitmap>();
  private key: readonly unknown[] = [];
  private work = 0;

  paint(context: CanvasRenderingContext2D, scene: Scene, place: Placement, ratio: number): void {
    const { width, height } = context.canvas;
    const { picture, prediction, map, label, hidden, rater, window } = scene;
    const own = [picture, prediction, scene.layers.join(), map?.name, map?.top, map?.opacity, label, hidden, rater, window];
    const key = [...own, place.scale, place.left, place.top, ratio, width, height];
    if (key.some((part, k) => part !== this.key[k])) {
      this.key = key;
      this.ground.canvas.width = width;
      this.ground.canvas.height = height;
      drawGround(this.ground, scene, place, ratio);
      this.drop();
      if (prediction && isMaskShown(scene)) this.prepare(scene, place, ratio, [...prediction.samples]);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.drawImage(this.ground.canvas, 0, 0);
    const mask = scene.shown && isMaskShown(scene) ? this.masks.get(scene.shown) : undefined;
    if (mask) context.drawImage(mask, 0, 0);
    else drawShown(context, scene, place, ratio);
  }

  /** Lets go of all that was painted ahead. */
  drop(): void {
    forget(this.work);
    for (const mask of this.masks.values()) mask.close();
    this.masks.clear();
  }

  private prepare(scene: Scene, place: Placement, ratio: number, samples: LabelMap[]): void {
    const { width, height } = this.ground.canvas;
    const next = samples.shift();
    if (!next || (this.masks.size + 1) * width * height * 4 > KEPT_BYTES) return;
    this.work = whenIdle(() => {
      const context = new OffscreenCanvas(width, height).getContext("2d")!;
      drawShown(context, { ...scene, shown: next }, place, ratio);
      this.masks.set(next, context.canvas.transferToImageBitmap());
      this.prepare(scene, place, ratio, samples);
    });
  }
}

const isMaskShown = (scene: Scene): boolean => scene.layers.includes("mask") && scene.rater === null;

function drawGround(context: CanvasRenderingContext2D, scene: Scene, place: Placement, ratio: number): void {
  const { picture, prediction } = scene;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(ratio * place.scale, 0, 0, ratio * place.scale, ratio * place.left, ratio * place.top);
  context.imageSmoothingEnabled = place.scale < PIXELS_FROM;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture.canvas(scene.window), 0, 0);
  const line = (width: number): number => width / place.scale;
  context.lineJoin = "round";
  if (prediction) {
    context.save();
    context.translate(prediction.left, prediction.top);
    if (scene.map) {
      context.globalAlpha = scene.map.opacity;
      context.drawImage(prediction.map(scene.map.name, scene.label, scene.map.top), 0, 0);
      context.globalAlpha = 1;
    }
    shadeOutside(context, picture, prediction);
    if (scene.layers.includes("bands")) drawBands(context, scene, prediction, line);
    if (scene.layers.includes("all")) drawAll(context, scene, prediction, line);
    context.restore();
  }
  const classes = drawnClasses(scene.session, scene.hidden);
  const isBinary = scene.session.is_binary;
  if (!isBinary) context.setLineDash([5, 3].map(line)); // raters' colours are those of classes too
  picture.raters.forEach((map, k) => {
    const isPointedAt = scene.rater === k;
    if (!isPointedAt && (!scene.layers.includes("raters") || scene.rater !== null)) return;
    const style = { colour: picture.meta.raters[k].colour, width: line(isPointedAt ? 2.25 : 1.5), fill: isPointedAt ? 0.2 : 0, halo: true };
    for (const label of classes) if (map.has(label)) drawMask(context, map.path(label), style);
  });
  context.setLineDash([]);
}

function drawShown(context: Context, scene: Scene, place: Placement, ratio: number): void {
  const { prediction, session } = scene;
  if (!prediction || !scene.shown || !isMaskShown(scene)) return;
  context.setTransform(ratio * place.scale, 0, 0, ratio * place.scale, ratio * place.left, ratio * place.top);
  context.translate(prediction.left, prediction.top);
  context.lineJoin = "round";
  const isBinary = session.is_binary;
  const width = (scene.isSmall ? (isBinary ? 1.75 : 0) : isBinary ? 2.25 : 1.25) / place.scale;
  const fill = scene.map ? 0 : isBinary ? 0.2 : scene.isSmall ? 0.65 : 0.35;
  for (const label of drawnClasses(session, scene.hidden))
    if (scene.shown.has(label))
      drawMask(context, scene.shown.path(label), { colour: colourOf(session, label), width, fill, halo: isBinary });
}

/** What a run on centre crops does not see is darker. */
function shadeOutside(context: CanvasRenderingContext2D, picture: Picture, { left, top, width, height }: Prediction): void {
  if (width >= picture.width && height >= picture.height) return;
  const outside = new Path2D();
  outside.rect(-left, -top, picture.width, picture.height);
  outside.rect(0, 0, width, height);
  context.fillStyle = "rgba(0, 0, 0, 0.5)";
  context.fill(outside, "evenodd");
}

interface Style {
  colour: string;
  width: number;
  fill: number; // opacity
  halo: boolean; // a dark line below, so that it is seen on bright images
}

function drawMask(context: Context, path: Path2D, { colour, width, fill, halo }: Style): void {
  if (fill) {
    context.globalAlpha = fill;
    context.fillStyle = colour;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
  }
  if (!width) return;
  if (halo) {
    context.strokeStyle = HALO;
    context.lineWidth = 2 * width;
    context.stroke(path);
  }
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

function drawAll(context: CanvasRenderingContext2D, scene: Scene, prediction: Prediction, line: (width: number) => number): void {
  context.strokeStyle = colourOf(scene.session, scene.label);
  context.lineWidth = line(1.5);
  context.lineCap = "round";
  for (const { share, path } of prediction.allOutlines(scene.label)) {
    context.globalAlpha = 0.3 + 0.7 * share;
    context.stroke(path);
  }
  context.globalAlpha = 1;
}

function drawBands(context: CanvasRenderingContext2D, scene: Scene, prediction: Prediction, line: (width: number) => number): void {
  const dashes = [[0.1, 4.5], [7, 5], []];
  context.lineCap = "round";
  prediction.bands(scene.label).forEach((path, k) => {
    context.setLineDash(dashes[k].map(line));
    drawMask(context, path, { colour: colourOf(scene.session, scene.label), width: line(1.5), fill: scene.map ? 0 : BAND_FILLS[k], halo: true });
  });
  context.setLineDash([]);
}
