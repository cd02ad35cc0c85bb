/**
 * Lines around regions by marching squares (Lorensen and Cline 1987, in two dimensions).
 *
 * Pixel (x, y) has its centre at (x + 0.5, y + 0.5) of the picture. A cell lies between four centres; beyond the edge of
 * the picture all is outside, so that every line is closed.
 */

export type Ring = Float32Array; // x0, y0, x1, y1, ...; closed

export interface Box {
  left: number;
  top: number;
  right: number; // exclusive
  bottom: number;
}

// Corners of a cell are bits: 1 top left, 2 top right, 4 bottom right, 8 bottom left. Edges: 0 top, 1 right, 2 bottom,
// 3 left. A segment goes from edge to edge with the inside on its right. Cases 5 and 10, two opposite corners, keep
// these corners apart.
const SEGMENTS: readonly (readonly (readonly [number, number])[])[] = [
  [],
  [[0, 3]],
  [[1, 0]],
  [[1, 3]],
  [[2, 1]],
  [[0, 3], [2, 1]],
  [[2, 0]],
  [[2, 3]],
  [[3, 2]],
  [[0, 2]],
  [[1, 0], [3, 2]],
  [[1, 2]],
  [[3, 1]],
  [[0, 1]],
  [[3, 0]],
  [],
];

/** Closed lines at `level` of a field `(height, width)`: what is at least as large lies inside. */
export function rings(field: ArrayLike<number>, width: number, height: number, level: number): Ring[] {
  const wide = width + 2;
  const padded = new Float32Array(wide * (height + 2)).fill(Math.min(0, 2 * level - 1));
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) padded[(y + 1) * wide + x + 1] = field[y * width + x];
  return trace(padded, wide, height + 2, level);
}

/** Closed lines around the pixels of one label. */
export function outline(labels: Uint8Array, width: number, height: number, label: number): Ring[] {
  const cut = cutOut(labels, width, height, label);
  if (!cut) return [];
  const found = trace(cut.padded, cut.wide, cut.high, 1, 0.5);
  for (const ring of found)
    for (let i = 0; i < ring.length; i += 2) {
      ring[i] += cut.box.left;
      ring[i + 1] += cut.box.top;
    }
  return found;
}

interface CutOut {
  box: Box;
  padded: Uint8Array; // 1 where the label is, with a frame of zeros
  wide: number;
  high: number;
}

function cutOut(labels: Uint8Array, width: number, height: number, label: number): CutOut | null {
  const box = boxOf(labels, width, height, label);
  if (!box) return null;
  const wide = box.right - box.left + 2;
  const high = box.bottom - box.top + 2;
  const padded = new Uint8Array(wide * high);
  for (let y = box.top; y < box.bottom; y++) {
    const to = (y - box.top + 1) * wide + 1 - box.left;
    for (let x = box.left; x < box.right; x++) if (labels[y * width + x] === label) padded[to + x] = 1;
  }
  return { box, padded, wide, high };
}

/** The smallest box with all pixels of a label, or null if there are none. */
export function boxOf(labels: Uint8Array, width: number, height: number, label: number): Box | null {
  let left = width, top = height, right = 0, bottom = 0;
  for (let y = 0; y < height; y++) {
    const start = y * width;
    const first = labels.subarray(start, start + width).indexOf(label);
    if (first < 0) continue;
    const last = labels.subarray(start, start + width).lastIndexOf(label);
    left = Math.min(left, first);
    right = Math.max(right, last + 1);
    top = Math.min(top, y);
    bottom = y + 1;
  }
  return bottom ? { left, top, right, bottom } : null;
}

function trace(padded: ArrayLike<number>, wide: number, high: number, level: number, halfway?: number): Ring[] {
  // An edge is named by the padded pixel at its start: 2 * pixel goes right from there, 2 * pixel + 1 down.
  const next = new Map<number, number>();
  for (let at = 0; at < wide * (high - 1) - 1; at++) {
    const code = caseOf(padded, at, wide, level);
    if (code === 0 || code === 15) continue; // a cell across two rows lies in the frame, where nothing is inside
    for (const [from, to] of SEGMENTS[code]) next.set(edgeName(at, wide, from), edgeName(at, wide, to));
  }
  const found: Ring[] = [];
  for (const [start] of next) {
    const points: number[] = [];
    let edge: number | undefined = start;
    while (edge !== undefined && next.has(edge)) {
      const from = edge >> 1;
      const goesDown = edge & 1;
      const [a, b] = [padded[from], padded[from + (goesDown ? wide : 1)]];
      const share = halfway ?? (level - a) / (b - a);
      const [x, y] = [(from % wide) - 0.5, Math.floor(from / wide) - 0.5]; // the padded pixel's centre in the picture
      points.push(goesDown ? x : x + share, goesDown ? y + share : y);
      const following: number = next.get(edge)!;
      next.delete(edge);
      edge = following;
    }
    found.push(new Float32Array(points));
  }
  return found;
}

function caseOf(field: ArrayLike<number>, at: number, wide: number, level: number): number {
  return (
    (field[at] >= level ? 1 : 0) |
    (field[at + 1] >= level ? 2 : 0) |
    (field[at + wide + 1] >= level ? 4 : 0) |
    (field[at + wide] >= level ? 8 : 0)
  );
}

function edgeName(at: number, wide: number, edge: number): number {
  if (edge === 0) return 2 * at;
  if (edge === 1) return 2 * (at + 1) + 1;
  if (edge === 2) return 2 * (at + wide);
  return 2 * at + 1;
}

/**
 * Every piece of outline that any of the label maps has, by how many of them have it.
 *
 * Entry k, of 0 to the number of maps, holds x0, y0, x1, y1 of each piece that exactly k maps have; so a line can be drawn
 * as strongly as it is frequent, and where outlines agree they do not hide each other.
 */
export function outlineCounts(maps: readonly Uint8Array[], width: number, height: number, label: number): Float32Array[] {
  const wide = width + 2;
  const counts = new Map<number, number>();
  for (const map of maps) {
    const cut = cutOut(map, width, height, label);
    if (!cut) continue;
    for (let at = 0; at < cut.wide * (cut.high - 1) - 1; at++) {
      const code = caseOf(cut.padded, at, cut.wide, 1);
      if (code === 0 || code === 15) continue;
      const cell = (cut.box.top + Math.floor(at / cut.wide)) * wide + cut.box.left + (at % cut.wide);
      for (const [from, to] of SEGMENTS[code]) {
        const piece = cell * 16 + Math.min(from, to) * 4 + Math.max(from, to);
        counts.set(piece, (counts.get(piece) ?? 0) + 1);
      }
    }
  }
  const lists: number[][] = Array.from({ length: maps.length + 1 }, () => []);
  for (const [piece, count] of counts) {
    const cell = Math.floor(piece / 16);
    const x = (cell % wide) - 0.5;
    const y = Math.floor(cell / wide) - 0.5;
    lists[count].push(...onEdge(x, y, (piece >> 2) & 3), ...onEdge(x, y, piece & 3));
  }
  return lists.map((list) => new Float32Array(list));
}

function onEdge(x: number, y: number, edge: number): [number, number] {
  if (edge === 0) return [x + 0.5, y];
  if (edge === 1) return [x + 1, y + 0.5];
  if (edge === 2) return [x + 0.5, y + 1];
  return [x, y + 0.5];
}

/** The area inside closed lines, in pixels; holes, which run the other way round, are taken off. */
export function areaInside(lines: readonly Ring[]): number {
  let twice = 0;
  for (const ring of lines)
    for (let i = 0; i < ring.length; i += 2) {
      const j = (i + 2) % ring.length;
      twice += ring[i] * ring[j + 1] - ring[j] * ring[i + 1];
    }
  return Math.abs(twice) / 2;
}
