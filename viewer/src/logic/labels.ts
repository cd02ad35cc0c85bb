/** Counting over label maps `(height * width)`: class indices, IGNORE where nobody judged. */

export const IGNORE = 255;
export const BANDS = [0.05, 0.5, 0.95] as const;

/** In which share of the maps each pixel has the label, 0 to 1. */
export function frequency(maps: readonly Uint8Array[], label: number): Float32Array {
  const share = new Float32Array(maps[0]?.length ?? 0);
  for (const map of maps) for (let i = 0; i < map.length; i++) if (map[i] === label) share[i]++;
  for (let i = 0; i < share.length; i++) share[i] /= maps.length;
  return share;
}

/** The pixels of a label. */
export function area(map: Uint8Array, label: number): number {
  let count = 0;
  for (let i = 0; i < map.length; i++) if (map[i] === label) count++;
  return count;
}

/** A round number at or above a value, for the end of an axis: 1, 2, 2.5 or 5 times a power of ten. */
export function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((end) => end >= value * (1 - 1e-9))!;
}

/** In how many of the maps a pixel has the label. */
export function frequencyAt(maps: readonly Uint8Array[], label: number, pixel: number): number {
  return maps.reduce((count, map) => count + (map[pixel] === label ? 1 : 0), 0);
}
