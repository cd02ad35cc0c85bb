/** What is drawn over the image: buttons above the picture, and the legend on it. */

import { useLayoutEffect, useRef } from "preact/hooks";
import type { Session } from "../api";
import { colourOf } from "../draw";
import { type Layer, type MapName, MAPS, type View } from "../logic/view";
import { barCanvas, type Picture } from "../model";
import type { Tool } from "./picture";

export const LAYER_KEYS: Record<Layer, string> = { mask: "M", all: "A", bands: "G", raters: "R" };
const LAYER_NAMES: Record<Layer, string> = { mask: "Mask", all: "All contours", bands: "Agreement", raters: "Raters" };
const LAYER_TITLES: Record<Layer, string> = {
  mask: "The mask that is shown",
  all: "Contours of all samples, the stronger the more frequent",
  bands: "Marked in at least 5, 50 and 95 % of the samples",
  raters: "The raters' contours, each in a colour",
};
export const MAP_NAMES: Record<MapName, string> = {
  mean: "Mean probability",
  entropy: "Entropy",
  mutual_information: "Mutual information",
};

interface Props {
  session: Session;
  view: View;
  hasRaters: boolean;
  opacity: number;
  onLayer: (layer: Layer) => void;
  onMap: (map: MapName | null) => void;
  onOpacity: (opacity: number) => void;
}

export function Layers(props: Props) {
  const { view } = props;
  const layers = (Object.keys(LAYER_NAMES) as Layer[]).filter((layer) => layer !== "raters" || props.hasRaters);
  return (
    <div class="layers" role="toolbar" aria-label="Layers">
      <div class="buttons">
        {layers.map((layer) => (
          <button type="button" key={layer} aria-pressed={view.layers.includes(layer)} title={`${LAYER_TITLES[layer]} (${LAYER_KEYS[layer]})`} onClick={() => props.onLayer(layer)}>
            {LAYER_NAMES[layer]}
          </button>
        ))}
      </div>
      <select aria-label="Map" title="A map over the image (E)" value={view.map ?? ""} onChange={(event) => props.onMap((event.currentTarget.value || null) as MapName | null)}>
        <option value="">No map</option>
        {MAPS.map((name) => <option key={name} value={name}>{MAP_NAMES[name]}</option>)}
      </select>
      {view.map && (
        <input class="opacity" type="range" min="0.1" max="1" step="0.05" value={props.opacity} aria-label="Opacity of the map" title="Opacity of the map" onInput={(event) => props.onOpacity(Number(event.currentTarget.value))} />
      )}
    </div>
  );
}

interface ToolsProps {
  view: View;
  tool: Tool;
  onTool: (tool: Tool) => void;
  onZoom: (factor: number | null) => void;
  onObject: () => void;
  onResetWindow: () => void;
}

/** Zoom, brightness and contrast, in the picture's corner. */
export function Tools({ view, tool, onTool, onZoom, onObject, onResetWindow }: ToolsProps) {
  return (
    <div class="tools" role="toolbar" aria-label="Zoom and window">
      <div class="buttons">
        <button type="button" aria-pressed={tool === "window"} title="Drag changes brightness (up, down) and contrast (left, right) (W, or the right button)" onClick={() => onTool(tool === "window" ? "move" : "window")}>
          Window
        </button>
        {view.window && <button type="button" title="Brightness and contrast as the image came" onClick={onResetWindow}>Reset</button>}
      </div>
      <div class="buttons">
        <button type="button" title="Zoom to what is marked (Z)" onClick={onObject}>Object</button>
        <button type="button" aria-label="Zoom out" title="Zoom out (−)" onClick={() => onZoom(1 / 1.5)}>−</button>
        <button type="button" title="The whole picture (0)" onClick={() => onZoom(null)}>{view.zoom.scale === 1 ? "Whole" : `${Number(view.zoom.scale.toPrecision(2))}×`}</button>
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => onZoom(1.5)}>+</button>
      </div>
    </div>
  );
}

interface LegendProps {
  title: string | null; // of the run
  isFirst: boolean; // of two; the second need not tell the raters again
  session: Session;
  picture: Picture;
  view: View;
  label: number;
  top: number | null; // of the map's colour bar
  onRater: (rater: number | null) => void;
}

export function Legend({ title, isFirst, session, picture, view, label, top, onRater }: LegendProps) {
  const has = (layer: Layer): boolean => view.layers.includes(layer);
  const colour = colourOf(session, label);
  const tellsRaters = isFirst && has("raters") && picture.raters.length > 0;
  const isEmpty = !title && !(view.map && top !== null) && !has("bands") && !tellsRaters;
  if (isEmpty) return null;
  return (
    <div class="legend">
      {title && <div class="stage-title">{title}</div>}
      {view.map && top !== null && <ColourBar name={view.map} top={top} className={session.classes[label].name} />}
      {has("bands") && (
        <div class="legend-row">
          {["2 4", "7 4", ""].map((dash, k) => (
            <span key={k}>
              <svg width="26" height="8" aria-hidden="true"><path d="M1 4H25" stroke={colour} stroke-width="2" stroke-dasharray={dash} /></svg>
              {[5, 50, 95][k]} %
            </span>
          ))}
          <span>of samples</span>
        </div>
      )}
      {tellsRaters && (
        <div class="legend-row" onPointerLeave={() => onRater(null)}>
          {picture.meta.raters.map((rater, k) => (
            <span key={k} onPointerEnter={() => onRater(k)}>
              <svg width="14" height="8" aria-hidden="true"><path d="M1 4H13" stroke={rater.colour} stroke-width="2.5" /></svg>
              {rater.name}
            </span>
          ))}
          {session.is_binary && (
            <span>
              <svg width="14" height="8" aria-hidden="true"><path d="M1 4H13" stroke={colour} stroke-width="2.5" /></svg>
              samples
            </span>
          )}
        </div>
      )}
    </div>
  );
}

function ColourBar({ name, top, className }: { name: MapName; top: number; className: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => void canvas.current!.getContext("2d")!.drawImage(barCanvas(name), 0, 0), [name]);
  const end = (value: number): string => Number(value.toFixed(2)).toString();
  return (
    <div class="colour-bar">
      <span>{name === "mean" ? `Probability of ${className}` : MAP_NAMES[name]}</span>
      <canvas ref={canvas} width="256" height="1" role="img" aria-label={`Colours from 0 to ${end(top)}`} />
      <span class="bar-ends">
        <span>0</span>
        <span>{end(top / 2)}</span>
        <span>{end(top)}{name === "mean" ? "" : " nats"}</span>
      </span>
    </div>
  );
}
