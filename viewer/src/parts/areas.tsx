/** How large the object is: a block for each sample, a mark for each rater. */

import { memo } from "preact/compat";
import { roundUp } from "../logic/labels";
import { type Unit, areaWords, digits } from "../logic/words";
import type { LabelMap, Picture, Prediction } from "../model";

const [WIDTH, HEIGHT, FOOT, SIDE, BINS] = [288, 92, 26, 8, 32]; // SIDE: room on both sides

interface Props {
  picture: Picture;
  prediction: Prediction;
  shown: LabelMap | null;
  label: number;
  name: string;
  colour: string;
  unit: Unit;
  onChoose: (sample: number) => void;
}

export const Areas = memo(function Areas({ picture, prediction, shown, label, name, colour, unit, onChoose }: Props) {
  const of = (map: LabelMap): number => map.areas[label];
  const areas = prediction.samples.map(of);
  const raters = picture.raters.map(of);
  const top = roundUp(Math.max(1, ...areas, ...raters) * unit.perPixel) / unit.perPixel;
  const bin = (value: number): number => Math.min(BINS - 1, Math.floor((value / top) * BINS));
  const heights = new Array<number>(BINS).fill(0);
  const places = areas.map((value) => ({ bin: bin(value), row: heights[bin(value)]++ }));
  const most = Math.max(4, ...heights);
  const ground = HEIGHT - FOOT;
  const [wide, high] = [(WIDTH - 2 * SIDE) / BINS, Math.min(12, (ground - 14) / most)];
  const at = (value: number): number => SIDE + (value / top) * (WIDTH - 2 * SIDE);
  return (
    <section class="areas" aria-label="Area">
      <h3>
        Area of {name}
        <span class="soft">{shown ? areaWords(of(shown), unit) : ""}</span>
      </h3>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`Areas of the samples: ${areas.map((value) => digits(value * unit.perPixel)).join(", ")}; of the raters: ${raters.map((value) => digits(value * unit.perPixel)).join(", ") || "none"} ${unit.name}`}
      >
        <line class="axis" x1="0" x2={WIDTH} y1={ground + 0.5} y2={ground + 0.5} />
        {places.map((place, k) => (
          <rect
            key={k}
            x={SIDE + place.bin * wide + 0.5}
            y={ground - (place.row + 1) * high + 0.5}
            width={wide - 1}
            height={Math.max(1, high - 1)}
            fill={colour}
            class={prediction.samples[k] === shown ? "block shown" : "block"}
            onClick={() => onChoose(k)}
          >
            <title>{`Sample ${k + 1}: ${areaWords(areas[k], unit)}`}</title>
          </rect>
        ))}
        {raters.map((value, k) => (
          <g key={`r${k}`} stroke={picture.meta.raters[k].colour} fill={picture.meta.raters[k].colour}>
            <title>{`${picture.meta.raters[k].name}: ${areaWords(value, unit)}`}</title>
            <line x1={at(value)} x2={at(value)} y1={6} y2={ground} stroke-width="1.5" />
            <path d={`M${at(value) - 4} 1h8l-4 6z`} stroke="none" />
          </g>
        ))}
        {shown && <path class="pointer" d={`M${at(of(shown)) - 5} ${ground + 9}h10l-5 -7z`} />}
        <text x="0" y={HEIGHT - 4}>0</text>
        <text x={WIDTH} y={HEIGHT - 4} text-anchor="end">{`${digits(top * unit.perPixel)} ${unit.name}`}</text>
      </svg>
    </section>
  );
});
