import { describe, expect, it } from "vitest";
import { type Choice, choiceToWord, wordToChoice } from "../src/logic/choice";
import { filmOf } from "../src/logic/film";
import { area, frequency, frequencyAt, roundUp } from "../src/logic/labels";
import { latest } from "../src/logic/latest";
import { colours, paintMap, topOf } from "../src/logic/scale";
import { START, type View, hashToView, viewToHash } from "../src/logic/view";
import { rowsInSight, scrollTo } from "../src/logic/virtual";
import { dragged, grey, paint } from "../src/logic/window";
import { areaWords, classWords, digits, percent, shortNames, sizeWords, unitOf, verdict } from "../src/logic/words";
import examples from "./words.json";
import { WHOLE, moved, place, zoomedAt } from "../src/logic/zoom";
import { planes, unpack } from "../src/api";

describe("labels", () => {
  const maps = [[0, 1, 2, 255], [0, 1, 1, 1], [0, 0, 1, 255]].map((row) => Uint8Array.from(row));

  it("frequency is the share of maps, and what was not judged is no label", () => {
    expect([...frequency(maps, 1)].map((share) => Math.round(3 * share))).toEqual([0, 2, 2, 1]);
    expect(frequencyAt(maps, 1, 2)).toBe(2);
    expect(maps.map((map) => area(map, 1))).toEqual([1, 3, 1]);
  });

  it("axes end on round numbers that are not smaller", () => {
    expect([0, 0.7, 1, 1.01, 230, 251, 5001].map(roundUp)).toEqual([1, 1, 1, 2, 250, 500, 10000]);
  });
});

describe("window", () => {
  it("maps its middle to middle grey and its ends to black and white", () => {
    const window = { level: 100, width: 40 };
    expect([60, 80, 90, 100, 120, 500].map((value) => grey(value, window))).toEqual([0, 0, 64, 128, 255, 255]);
  });

  it("is wider after a drag to the right, brighter after one down, and never of no width", () => {
    const whole = { level: 50, width: 100 };
    expect(dragged(whole, 100, 0, 500, whole).width).toBeGreaterThan(whole.width);
    expect(dragged(whole, 0, 100, 500, whole).level).toBeCloseTo(30);
    expect(dragged(whole, -1e5, 0, 500, whole).width).toBeGreaterThan(0);
  });

  it("paints one channel grey, three as red, green and blue, and the second of two magenta", () => {
    const rgba = new Uint8ClampedArray(4);
    const whole = [{ level: 127.5, width: 255 }];
    const of = (...values: number[]): number[] => {
      paint(values.map((value) => Uint8Array.of(value)), whole, rgba);
      return [...rgba];
    };
    expect(of(80)).toEqual([80, 80, 80, 255]);
    expect(of(10, 20, 30)).toEqual([10, 20, 30, 255]);
    expect(of(100, 255)).toEqual([255, 0, 255, 255]);
    expect(of(5, 6, 7, 8)).toEqual([5, 5, 5, 255]);
  });
});

describe("scale", () => {
  it("ends in the colours of its ends", () => {
    const table = colours("viridis");
    expect([...table.slice(0, 3)]).toEqual([0x44, 0x01, 0x54]);
    expect([...table.slice(-3)]).toEqual([0xfd, 0xe7, 0x25]);
  });

  it("paints stored values times their factor", () => {
    const rgba = new Uint8ClampedArray(12);
    paintMap(Uint16Array.of(0, 1000, 65535), 0.001, 1, "viridis", rgba);
    expect([...rgba.slice(0, 3)]).toEqual([0x44, 0x01, 0x54]);
    expect([...rgba.slice(4, 7)]).toEqual([0xfd, 0xe7, 0x25]);
    expect([...rgba.slice(8, 11)]).toEqual([0xfd, 0xe7, 0x25]);
  });

  it("has a bar that ends on a step, within a tenth of the most and the most", () => {
    expect(topOf([0, 312], 0.001, Math.LN2)).toBeCloseTo(0.35);
    expect(topOf([0], 0.001, Math.LN2)).toBeCloseTo(Math.LN2 / 10);
    expect(topOf([692], 0.001, Math.LN2)).toBe(Math.LN2);
  });
});

describe("zoom", () => {
  const picture = { width: 200, height: 100 };
  const frame = { width: 400, height: 400 };

  it("shows all of the picture in the middle at first", () => {
    expect(place(WHOLE, picture, frame)).toEqual({ scale: 2, left: 0, top: 100 });
  });

  it("keeps the point under the pointer", () => {
    const point = { x: 150, y: 190 };
    const under = (zoom: typeof WHOLE): number[] => {
      const { scale, left, top } = place(zoom, picture, frame);
      return [(point.x - left) / scale, (point.y - top) / scale];
    };
    const zoom = zoomedAt(WHOLE, 4, point, picture, frame);
    expect(zoom.scale).toBe(4);
    expect(under(zoom)[0]).toBeCloseTo(under(WHOLE)[0]);
    expect(under(zoom)[1]).toBeCloseTo(under(WHOLE)[1]);
  });

  it("comes back to the whole picture, and does not leave it", () => {
    const near = zoomedAt(WHOLE, 8, { x: 390, y: 200 }, picture, frame);
    expect(zoomedAt(near, 1e-9, { x: 10, y: 10 }, picture, frame)).toEqual(WHOLE);
    const far = moved(near, -1e6, 1e6, picture, frame);
    expect(far.x).toBeLessThan(1);
    expect(far.y).toBeGreaterThan(0);
    expect(moved(near, 16, 0, picture, frame).x).toBeCloseTo(near.x - 16 / 16 / 200);
  });
});

describe("address", () => {
  const full: View = {
    image: 12, run: 1, other: 0, choice: { kind: "latent", x: 0.25, y: -1.5, base: 3 }, layers: ["mask", "bands"], map: "entropy", label: 2,
    hidden: [1, 4], zoom: { scale: 2.5, x: 0.25, y: 0.75 }, window: { level: 120, width: 300 }, sort: "ged", search: "a b&c=ü#",
  };

  it("holds a whole view", () => {
    expect(hashToView(`#${viewToHash(full)}`)).toEqual(full);
    expect(hashToView(viewToHash(START))).toEqual(START);
    expect(viewToHash(START)).toBe("");
    expect(hashToView(viewToHash({ ...START, layers: [] })).layers).toEqual([]);
  });

  it("of nonsense is the start", () => {
    expect(hashToView("#image=x&mask=-1&zoom=0,9&layers=&map=%00&window=1,0&sort=worst&hidden=a,b&class=1.5")).toEqual(START);
  });

  it("holds any mask that can be chosen", () => {
    const choices: Choice[] = [
      { kind: "sample", sample: 0 }, { kind: "mean" }, { kind: "mean", threshold: 0.35 }, { kind: "union" }, { kind: "intersection" },
      { kind: "latent", x: 0, y: -2.125, base: null }, { kind: "scales", levels: [0, null, 255] },
    ];
    for (const choice of choices) expect(wordToChoice(choiceToWord(choice))).toEqual(choice);
    for (const word of ["", "0", "-3", "1.5", "mean:2", "mean:x", "latent:1", "latent:9,0", "latent:1,2,0", "scales:", "scales:1,,2", "other"])
      expect(wordToChoice(word)).toBeNull();
  });
});

describe("latest", () => {
  it("has one call at work, and of those that wait does the last", async () => {
    const begun: number[] = [];
    const gates: (() => void)[] = [];
    const ask = latest(async (value: number) => {
      begun.push(value);
      await new Promise<void>((done) => gates.push(done));
    });
    const all = [1, 2, 3, 4].map((value) => ask(value));
    expect(begun).toEqual([1]);
    gates[0]();
    await new Promise((done) => setTimeout(done));
    expect(begun).toEqual([1, 4]);
    gates[1]();
    await Promise.all(all);
    expect(begun).toEqual([1, 4]);
    void ask(5);
    expect(begun).toEqual([1, 4, 5]);
  });

  it("tells of a failure, and goes on", async () => {
    const ask = latest(async (value: number) => {
      if (value === 1) throw new Error("no");
    });
    await expect(ask(1)).rejects.toThrow("no");
    await expect(ask(2)).resolves.toBeUndefined();
  });
});

describe("long lists", () => {
  it("have only the rows that are in sight, and some beyond", () => {
    expect(rowsInSight(0, 600, 72, 5000)).toEqual([0, 13]);
    expect(rowsInSight(72 * 1000, 600, 72, 5000)).toEqual([996, 1013]);
    expect(rowsInSight(72 * 4995, 600, 72, 5000)).toEqual([4991, 5000]);
    expect(rowsInSight(0, 600, 72, 3)).toEqual([0, 3]);
    expect(rowsInSight(9999, 600, 72, 0)).toEqual([0, 0]);
  });

  it("scroll no further than a row needs", () => {
    expect(scrollTo(5, 0, 600, 72)).toBe(0);
    expect(scrollTo(9, 0, 600, 72)).toBe(120);
    expect(scrollTo(2, 500, 600, 72)).toBe(144);
  });
});

describe("filmstrip", () => {
  it("is one row where all fits, else two, and never of tiles too small to see", () => {
    expect(filmOf([4, 4], 700, 64)).toEqual({ rows: 1, side: 64 });
    const two = filmOf([7, 5, 4, 4], 704, 64);
    expect(two.rows).toBe(2);
    expect((two.side + 9) * 11 + 4 * 24).toBeLessThanOrEqual(704);
    expect(filmOf([200], 704, 64)).toEqual({ rows: 2, side: 36 });
  });
});

describe("words", () => {
  it("say how large readings are", () => {
    for (const { areas, words } of examples.sizes) expect(sizeWords(areas.map((area) => ({ empty: area === 0, area })))).toEqual(words);
  });

  it("say what there is more of than in the first reading", () => {
    for (const { areas, names, words } of examples.classes) expect(classWords(areas, names)).toEqual(words);
  });

  it("are short where many begin alike", () => {
    expect(shortNames(["reader1", "reader2", "reader12"])).toEqual(["1", "2", "12"]);
    expect(shortNames(["anna", "an"])).toEqual(["nna", "n"]);
    expect(shortNames(["anna"])).toEqual(["anna"]);
  });

  it("give a verdict", () => {
    for (const { empty, disagreement, words } of examples.headlines)
      expect(verdict(empty.map((one) => ({ empty: one })), disagreement)).toBe(words);
  });

  it("never call something nothing, or less than all all", () => {
    for (const { share, words } of examples.shares) expect(percent(share)).toBe(words);
  });

  it("tell areas in the image's unit", () => {
    for (const { pixels, side, unit, words } of examples.areas)
      expect(areaWords(pixels, unitOf(side === null ? null : { height: side, width: side, unit }))).toBe(words);
    expect(digits(1234567.8)).toBe("1\u202f234\u202f568");
    expect(digits(0.04567)).toBe("0.0457");
  });
});

describe("bundle", () => {
  function pack(meta: unknown, arrays: Record<string, unknown>, bytes: number[]): ArrayBuffer {
    const json = JSON.stringify({ meta, arrays });
    const padded = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
    const buffer = new ArrayBuffer(8 + padded.length + bytes.length);
    const all = new Uint8Array(buffer);
    all.set(new TextEncoder().encode("PLM1"));
    new DataView(buffer).setUint32(4, padded.length, true);
    all.set(padded, 8);
    all.set(bytes, 8 + padded.length);
    return buffer;
  }

  it("gives arrays of their types and shapes", () => {
    const { meta, arrays } = unpack<{ id: number }>(
      pack(
        { id: 3 },
        { maps: { dtype: "uint8", shape: [2, 1, 3], offset: 0 }, mean: { dtype: "uint16", shape: [2], offset: 8, scale: 0.5 } },
        [1, 2, 3, 4, 5, 6, 0, 0, 1, 0, 0, 1],
      ),
    );
    expect(meta.id).toBe(3);
    expect(planes(arrays.maps).map((plane) => [...plane])).toEqual([[1, 2, 3], [4, 5, 6]]);
    expect([...arrays.mean.values].map((value) => value * arrays.mean.scale)).toEqual([0.5, 128]);
  });

  it("refuses other bytes", () => {
    expect(() => unpack(new TextEncoder().encode("<html></html>").buffer as ArrayBuffer)).toThrow("not a bundle");
  });
});
