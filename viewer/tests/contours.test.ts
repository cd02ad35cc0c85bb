import { describe, expect, it } from "vitest";
import { type Ring, areaInside, boxOf, outline, outlineCounts, rings } from "../src/logic/contours";

const [W, H] = [7, 5];

function labels(...rows: string[]): Uint8Array {
  return Uint8Array.from(rows.join("").replaceAll(".", "0"), Number);
}

/** Whether a point is inside, by counting crossings of a ray. */
function isInside(lines: readonly Ring[], x: number, y: number): boolean {
  let inside = false;
  for (const ring of lines)
    for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2)
      if (ring[i + 1] > y !== ring[j + 1] > y && x < ((ring[j] - ring[i]) * (y - ring[i + 1])) / (ring[j + 1] - ring[i + 1]) + ring[i]) inside = !inside;
  return inside;
}

describe("outline", () => {
  it("is a diamond around one pixel", () => {
    const found = outline(labels(".......", "...2...", ".......", ".......", "......."), W, H, 2);
    expect(found).toHaveLength(1);
    const points = new Set(Array.from({ length: 4 }, (_, k) => `${found[0][2 * k]},${found[0][2 * k + 1]}`));
    expect(points).toEqual(new Set(["3.5,1", "4,1.5", "3.5,2", "3,1.5"]));
  });

  it("has the centres of the label's pixels inside and all others outside, for any mask, up to the picture's edge", () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647;
    for (let trial = 0; trial < 200; trial++) {
      const map = Uint8Array.from({ length: W * H }, () => (random() < 0.5 ? 3 : random() < 0.5 ? 1 : 0));
      const found = outline(map, W, H, 3);
      for (let y = 0; y < H; y++)
        for (let x = 0; x < W; x++) expect(isInside(found, x + 0.501, y + 0.502)).toBe(map[y * W + x] === 3);
    }
  });

  it("goes around a hole the other way, which takes it off the area", () => {
    const map = labels(".......", ".1111..", ".1..1..", ".1111..", ".......");
    const found = outline(map, W, H, 1);
    expect(found).toHaveLength(2);
    expect(areaInside(found)).toBeCloseTo(12 - 0.5 - (2 - 0.5)); // each line cuts four corners of an eighth
  });

  it("is nothing where the label is not", () => {
    expect(outline(labels(".......", ".......", ".......", ".......", "......."), W, H, 1)).toEqual([]);
    expect(boxOf(labels(".......", ".1.....", ".....1.", ".......", "......."), W, H, 1)).toEqual({ left: 1, top: 1, right: 6, bottom: 3 });
  });
});

describe("rings", () => {
  it("runs where the field crosses the level", () => {
    const field = Float32Array.from({ length: W * H }, (_, i) => (i % W) / (W - 1)); // rises to the right
    for (const level of [0.25, 0.5, 0.7]) {
      const xs = [...rings(field, W, H, level)[0]].filter((_, i) => i % 2 === 0);
      expect(Math.min(...xs)).toBeCloseTo(0.5 + level * (W - 1));
    }
  });

  it("of a lower level lies around that of a higher", () => {
    const field = Float32Array.from({ length: W * H }, (_, i) => 1 - Math.hypot((i % W) - 3, Math.floor(i / W) - 2) / 3);
    const areas = [0.05, 0.5, 0.95].map((level) => areaInside(rings(field, W, H, level)));
    expect(areas[0]).toBeGreaterThan(areas[1]);
    expect(areas[1]).toBeGreaterThan(areas[2]);
    expect(areas[2]).toBeGreaterThan(0);
  });
});

describe("outlineCounts", () => {
  const small = labels(".......", "..1....", ".......", ".......", ".......");
  const large = labels(".......", "..11...", "..11...", ".......", ".......");
  const none = new Uint8Array(W * H);

  it("counts in how many maps a piece of outline is", () => {
    const counts = outlineCounts([small, large, large, none], W, H, 1);
    expect(counts).toHaveLength(5);
    const pieces = counts.map((list) => list.length / 4);
    // small: 4 pieces, of which that at the top left corner of the object is large's too; large: 8
    expect(pieces).toEqual([0, 3, 7, 1, 0]);
    expect([...counts[3]].sort()).toEqual([...[2, 1.5, 2.5, 1]].sort());
  });

  it("of equal maps is their outline", () => {
    const length = (list: ArrayLike<number>, step: number): number => {
      let sum = 0;
      for (let i = 0; i + 3 < list.length; i += step) sum += Math.hypot(list[i + 2] - list[i], list[i + 3] - list[i + 1]);
      return sum;
    };
    const counts = outlineCounts([large, large, large], W, H, 1);
    const ring = outline(large, W, H, 1)[0];
    expect(length(counts[3], 4)).toBeCloseTo(length([...ring, ring[0], ring[1]], 2));
    expect(counts.slice(0, 3).every((list) => list.length === 0)).toBe(true);
  });
});
