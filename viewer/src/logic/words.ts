/** What readings, areas and scores say, in words. */

export interface ReadingSize {
  empty: boolean;
  area: number; // of its representative
}

const COUNTS = ["No", "One", "Two", "Three", "Four", "Five"];

const SIZES = [[], ["an object"], ["small", "large"], ["small", "medium", "large"], ["tiny", "small", "medium", "large"], ["tiny", "small", "medium", "large", "huge"]];
const ALIKE = 1.15; // areas that differ by less are called the same

/** Of the readings of a binary image, largest share first: nothing, small, large ...; A and B where sizes are alike. */
export function sizeWords(readings: readonly ReadingSize[]): string[] {
  const marked = readings.filter((one) => !one.empty).sort((one, other) => one.area - other.area);
  const sizes: ReadingSize[][] = [];
  for (const [k, one] of marked.entries())
    if (k && one.area < ALIKE * marked[k - 1].area) sizes[sizes.length - 1].push(one);
    else sizes.push([one]);
  return readings.map((one) => {
    if (one.empty) return "nothing";
    const size = sizes.findIndex((some) => some.includes(one));
    const alike = readings.filter((other) => sizes[size].includes(other));
    const word = sizes.length === 1 && alike.length > 1 ? "shape" : SIZES[sizes.length][size];
    return alike.length > 1 ? `${word} ${"ABCDE"[alike.indexOf(one)]}` : word;
  });
}

/** Of the readings of several classes: what there is more and less of than in the first. `areas[reading][class]`. */
export function classWords(areas: readonly (readonly number[])[], names: readonly string[]): string[] {
  const total = areas[0].reduce((sum, one) => sum + one, 0);
  return areas.map((own, k) => {
    if (k === 0) return "most likely";
    const changes = own.map((area, label) => ({ name: names[label], change: area - areas[0][label] }));
    changes.sort((one, other) => other.change - one.change);
    const [most, least] = [changes[0], changes[changes.length - 1]];
    const parts = [
      most.change > total / 1000 ? `more ${most.name}` : "",
      least.change < -total / 1000 ? `less ${least.name}` : "",
    ].filter(Boolean);
    return parts.join(", ") || "another place";
  });
}

/** One sentence about an image. */
export function verdict(readings: readonly { empty: boolean }[], disagreement: number | null): string {
  if (readings.length > 1) return `${COUNTS[readings.length] ?? readings.length} plausible readings`;
  if (readings[0]?.empty) return "Nothing, in every sample";
  if (disagreement === null) return "One sample";
  if (disagreement < 0.1) return "One reading: the samples agree";
  return disagreement < 0.4 ? "One reading, with an unsure outline" : "No clear readings: every sample differs";
}

/** 0.374 -> "37 %"; what is not nothing is not told as 0 %, and what is not all not as 100 %. */
export function percent(share: number): string {
  const whole = Math.round(100 * share);
  if (whole === 0 && share > 0) return "< 1 %";
  if (whole === 100 && share < 1) return "> 99 %";
  return `${whole} %`;
}

export interface Unit {
  perPixel: number;
  name: string;
}

/** What areas are told in: the unit of the image's pixels, or pixels. */
export function unitOf(pixelSize: { height: number; width: number; unit: string } | null): Unit {
  return pixelSize ? { perPixel: pixelSize.height * pixelSize.width, name: `${pixelSize.unit}²` } : { perPixel: 1, name: "px" };
}

/** An area in three digits, with thin spaces between thousands. */
export function areaWords(pixels: number, unit: Unit): string {
  return `${digits(pixels * unit.perPixel)} ${unit.name}`;
}

export function digits(value: number): string {
  if (value === 0) return "0";
  if (value >= 1000) return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return String(Number(value.toPrecision(3)));
}

/** Names without what all of them begin with: reader1, reader2 -> 1, 2. */
export function shortNames(names: readonly string[]): string[] {
  let common = 0;
  while (names.length > 1 && names.every((name) => common < name.length - 1 && name[common] === names[0][common])) common++;
  return names.map((name) => name.slice(common));
}
