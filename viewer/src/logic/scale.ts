/** Colour scales of maps: even steps in lightness, told apart by colour-blind readers too. */

const SCALES = {
  viridis: ["440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26", "fde725"],
  magma: ["000004", "140e36", "3b0f70", "641a80", "8c2981", "b73779", "de4968", "f7705c", "fe9f6d", "fecf92", "fcfdbf"],
} as const;

export type ScaleName = keyof typeof SCALES;

/** 256 colours, RGB one after the other. */
export function colours(name: ScaleName): Uint8Array {
  const stops = SCALES[name].map((hex) => [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16)));
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(at));
    for (let k = 0; k < 3; k++) table[3 * i + k] = Math.round(stops[low][k] + (at - low) * (stops[low + 1][k] - stops[low][k]));
  }
  return table;
}

/** Values from 0 to `top` in the colours of a scale, RGBA. */
export function paintMap(values: ArrayLike<number>, factor: number, top: number, name: ScaleName, rgba: Uint8ClampedArray): void {
  const table = colours(name);
  const step = (255 * factor) / top;
  for (let i = 0, o = 0; i < values.length; i++, o += 4) {
    const at = 3 * Math.min(255, Math.round(values[i] * step));
    rgba[o] = table[at];
    rgba[o + 1] = table[at + 1];
    rgba[o + 2] = table[at + 2];
    rgba[o + 3] = 255;
  }
}

/** The end of a colour bar: the largest value on a round step, at least a tenth of what it could be, at most all of it. */
export function topOf(values: ArrayLike<number>, factor: number, most: number): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > largest) largest = values[i];
  return Math.min(most, Math.max(most / 10, Math.ceil(largest * factor * 20) / 20));
}
