/** The mask that is shown, and that is saved: one of a few kinds. The words of the server's interface. */

export type Choice =
  | { kind: "sample"; sample: number }
  | { kind: "mean"; threshold?: number }
  | { kind: "union" }
  | { kind: "intersection" }
  | { kind: "latent"; x: number; y: number; base: number | null }
  | { kind: "scales"; levels: (number | null)[] };

/** In one word of an address: `7`, `mean`, `mean:0.35`, `union`, `latent:0.4,-1.2,3`, `scales:0,m,17`. */
export function choiceToWord(choice: Choice): string {
  switch (choice.kind) {
    case "sample":
      return String(choice.sample + 1);
    case "mean":
      return choice.threshold === undefined ? "mean" : `mean:${choice.threshold}`;
    case "latent": {
      const place = `latent:${round(choice.x)},${round(choice.y)}`;
      return choice.base === null ? place : `${place},${choice.base + 1}`;
    }
    case "scales":
      return `scales:${choice.levels.map((level) => level ?? "m").join(",")}`;
    default:
      return choice.kind;
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

/** The choice of a word, or null if it is none. */
export function wordToChoice(word: string): Choice | null {
  const [kind, rest] = word.split(":") as [string, string | undefined];
  const numbers = (rest ?? "").split(",").map((part) => (part === "" ? NaN : Number(part)));
  if (/^[1-9]\d{0,4}$/.test(word)) return { kind: "sample", sample: Number(word) - 1 };
  if (word === "mean" || word === "union" || word === "intersection") return { kind: word };
  if (kind === "mean" && numbers.length === 1 && numbers[0] >= 0 && numbers[0] <= 1) return { kind, threshold: numbers[0] };
  if (kind === "latent" && (numbers.length === 2 || numbers.length === 3)) {
    const [x, y, base] = numbers;
    const isBase = base === undefined || (Number.isInteger(base) && base >= 1);
    if (Math.abs(x) <= 8 && Math.abs(y) <= 8 && isBase) return { kind, x, y, base: base === undefined ? null : base - 1 };
  }
  if (kind === "scales" && /^(\d{1,3}|m)(,(\d{1,3}|m))*$/.test(rest ?? ""))
    return { kind, levels: rest!.split(",").map((level) => (level === "m" ? null : Math.min(255, Number(level)))) };
  return null;
}
