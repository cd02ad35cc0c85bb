/** Window and level: which values of an image become black and which white. */

export interface Window {
  level: number; // the value in the middle of the greys
  width: number; // from black to white
}

export type Values = Uint8Array | Uint16Array | Float32Array;

/** A drag of (dx, dy) screen pixels: to the right is wider, down is brighter; the whole picture's side is one width. */
export function dragged(from: Window, dx: number, dy: number, side: number, whole: Window): Window {
  const width = Math.max(whole.width / 200, from.width * Math.exp((2 * dx) / side));
  return { width, level: from.level - (dy / side) * whole.width };
}

/** Grey of a value, 0 to 255. */
export function grey(value: number, window: Window): number {
  const share = (value - window.level) / window.width + 0.5;
  return Math.round(255 * Math.min(1, Math.max(0, share)));
}

/**
 * Channels to RGBA in place: one is grey, three are red, green and blue, of two the second is magenta over the first; of more
 * the first is shown.
 */
export function paint(channels: readonly Values[], windows: readonly Window[], rgba: Uint8ClampedArray): void {
  const [first, second, third] = channels;
  const [one, two, three] = [0, 1, 2].map((k) => windows[Math.min(k, windows.length - 1)]);
  const hasThree = channels.length === 3;
  const hasTwo = channels.length === 2;
  for (let i = 0, o = 0; i < first.length; i++, o += 4) {
    const a = grey(first[i], one);
    rgba[o + 3] = 255;
    if (hasThree) {
      rgba[o] = a;
      rgba[o + 1] = grey(second[i], two);
      rgba[o + 2] = grey(third[i], three);
    } else if (hasTwo) {
      const b = grey(second[i], two);
      rgba[o] = rgba[o + 2] = Math.max(a, b);
      rgba[o + 1] = (a * (255 - b)) / 255;
    } else rgba[o] = rgba[o + 1] = rgba[o + 2] = a;
  }
}
