/** Keys: each does one thing, and none of it while somebody writes. */

import { useEffect, useRef } from "preact/hooks";

export type Keys = Record<string, () => void>;

/** "Shift+ArrowLeft", "j", "/" -> what to do. */
export function useKeys(keys: Keys): void {
  const now = useRef(keys);
  now.current = keys;
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event)) return;
      const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const act = now.current[event.shiftKey && event.key.length > 1 ? `Shift+${name}` : name];
      if (!act) return;
      event.preventDefault();
      act();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  useEffect(letGoOfSelects, []);
}

/** A choice by the pointer leaves the keys to the picture; one by keys leaves the focus where it is. */
function letGoOfSelects(): () => void {
  let isByPointer = false;
  const onPointer = (): void => void (isByPointer = true);
  const onKey = (): void => void (isByPointer = false);
  const onChange = ({ target }: Event): void => void (isByPointer && target instanceof HTMLSelectElement && target.blur());
  const listeners = { pointerdown: onPointer, keydown: onKey, change: onChange };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener, true);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener, true);
  };
}

function isTyping({ target, key }: KeyboardEvent): boolean {
  if (!(target instanceof HTMLElement) || target.closest("dialog")) return target instanceof HTMLElement && !!target.closest("dialog");
  if (target instanceof HTMLInputElement) {
    if (target.type === "range") return key.startsWith("Arrow") || key === "Home" || key === "End";
    return target.type !== "checkbox";
  }
  return target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement;
}

export const HELP: readonly (readonly [string, string])[] = [
  ["J, K", "next and previous image of the work list"],
  ["← →", "flip through the samples, in place"],
  ["↑ ↓", "previous and next reading"],
  ["M", "the mask that is shown"],
  ["A", "contours of all samples, the stronger the more frequent"],
  ["G", "agreement: marked in at least 5, 50 and 95 % of samples"],
  ["R", "the raters' contours"],
  ["E", "next map: mean probability, entropy, mutual information"],
  ["+ − 0", "zoom in, out, whole picture; wheel, pinch or double click too"],
  ["Z", "zoom to what is marked"],
  ["Shift + arrows", "move the picture; or drag it"],
  ["W", "drag for brightness and contrast; the right button always does"],
  ["[ ]  , .", "darker, brighter; less, more contrast"],
  ["S, U", "save the shown mask; undo the last save"],
  ["B", "a second run side by side"],
  ["L", "hide or show the work list"],
  ["/", "search the work list"],
  ["?", "this help"],
];
