/** A small picture of one mask. */

import { memo } from "preact/compat";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Session } from "../api";
import { draw } from "../draw";
import type { Box } from "../logic/contours";
import type { LabelMap, Picture, Prediction } from "../model";

export interface TileProps {
  session: Session;
  picture: Picture;
  prediction: Prediction | null;
  shown: LabelMap | null;
  rater?: number;
  region: Box;
  hidden: readonly number[];
  side: number;
}

export const Tile = memo(function Tile({ session, picture, prediction, shown, rater, region, hidden, side }: TileProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const ratio = window.devicePixelRatio || 1;
    canvas.current!.width = canvas.current!.height = Math.round(side * ratio);
    const scale = side / Math.max(region.right - region.left, region.bottom - region.top);
    const middle = (low: number, high: number): number => side / 2 - ((low + high) / 2) * scale;
    const place = { scale, left: middle(region.left, region.right), top: middle(region.top, region.bottom) };
    const scene = { session, picture, prediction, shown, layers: ["mask" as const], map: null, label: 0, hidden, rater: rater ?? null, window: null, isSmall: true };
    draw(canvas.current!.getContext("2d")!, scene, place, ratio);
  }, [picture, prediction, shown, rater, region, hidden, side]);
  return <canvas class="tile" ref={canvas} aria-hidden="true" style={{ width: `${side}px`, height: `${side}px` }} />;
});
