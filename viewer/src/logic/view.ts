/** What is looked at, and how: all of it is in the address, so that a link shows the same. */

import { type Choice, choiceToWord, wordToChoice } from "./choice";
import type { Window } from "./window";
import { WHOLE, type Zoom } from "./zoom";

export const LAYERS = ["mask", "all", "bands", "raters"] as const;
export type Layer = (typeof LAYERS)[number];

export const MAPS = ["mean", "entropy", "mutual_information"] as const;
export type MapName = (typeof MAPS)[number];

export const SORTS = ["disagreement", "ged", "quality", "entropy", "name"] as const;

export interface View {
  image: number | null;
  run: number;
  other: number | null; // a second run, side by side
  choice: Choice | null; // null: the first reading
  layers: readonly Layer[];
  map: MapName | null;
  label: number | null; // the class that maps and areas are of; null: the first that counts
  hidden: readonly number[]; // classes that are not drawn
  zoom: Zoom;
  window: Window | null; // null: as the image comes
  sort: string;
  search: string;
}

export const START: View = {
  image: null,
  run: 0,
  other: null,
  choice: null,
  layers: ["mask", "all", "raters"],
  map: null,
  label: null,
  hidden: [],
  zoom: WHOLE,
  window: null,
  sort: "disagreement",
  search: "",
};

const number = (value: number): string => String(Number(value.toPrecision(5)));

/** What follows the # of an address; what is as at the start is left out. */
export function viewToHash(view: View): string {
  const words = new URLSearchParams();
  const { zoom, window } = view;
  if (view.image !== null) words.set("image", String(view.image));
  if (view.run) words.set("run", String(view.run));
  if (view.other !== null) words.set("beside", String(view.other));
  if (view.choice) words.set("mask", choiceToWord(view.choice));
  if (view.layers.join() !== START.layers.join()) words.set("layers", view.layers.join(",") || "none");
  if (view.map) words.set("map", view.map);
  if (view.label !== null) words.set("class", String(view.label));
  if (view.hidden.length) words.set("hidden", view.hidden.join(","));
  if (zoom.scale !== 1) words.set("zoom", [zoom.scale, zoom.x, zoom.y].map(number).join(","));
  if (window) words.set("window", `${number(window.level)},${number(window.width)}`);
  if (view.sort !== START.sort) words.set("sort", view.sort);
  if (view.search) words.set("search", view.search);
  return words.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/** The view of an address. What cannot be read is as at the start. */
export function hashToView(hash: string): View {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const index = (name: string): number | null => (/^\d{1,9}$/.test(words.get(name) ?? "") ? Number(words.get(name)) : null);
  const numbers = (name: string, count: number): number[] | null => {
    const found = (words.get(name) ?? "").split(",").filter(Boolean).map(Number);
    return found.length === count && found.every(Number.isFinite) ? found : null;
  };
  const [zoom, window] = [numbers("zoom", 3), numbers("window", 2)];
  const layers = words.get("layers") || null;
  return {
    image: index("image"),
    run: index("run") ?? 0,
    other: index("beside"),
    choice: wordToChoice(words.get("mask") ?? ""),
    layers: layers ? LAYERS.filter((layer) => layers.split(",").includes(layer)) : START.layers,
    map: MAPS.find((name) => name === words.get("map")) ?? null,
    label: index("class"),
    hidden: (words.get("hidden") ?? "").split(",").filter((part) => /^\d{1,3}$/.test(part)).map(Number),
    zoom: zoom && zoom[0] >= 1 && zoom[0] <= 64 ? { scale: zoom[0], x: zoom[1], y: zoom[2] } : WHOLE,
    window: window && window[1] > 0 ? { level: window[0], width: window[1] } : null,
    sort: SORTS.find((name) => name === words.get("sort")) ?? START.sort,
    search: words.get("search") ?? "",
  };
}
