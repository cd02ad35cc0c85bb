/** The picture in the middle: zoomed, moved, windowed, and read pixel by pixel. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Painter, type Scene } from "../draw";
import { frequencyAt } from "../logic/labels";
import { type Window, dragged } from "../logic/window";
import { type Size, type Zoom, WHOLE, moved, place, zoomedAt } from "../logic/zoom";

export type Tool = "move" | "window";

interface Props {
  scene: Scene;
  shownWord: string; // of the mask that the scene shows, for whoever waits for it
  label: string;
  zoom: Zoom;
  tool: Tool;
  onZoom: (zoom: Zoom) => void;
  onWindow: (window: Window) => void;
}

interface Drag {
  x: number;
  y: number;
  zoom: Zoom;
  window: Window;
  asWindow: boolean;
}

/** Both fingers of a pinch, as their middle and how far they are apart. */
function pinchOf(points: Map<number, { x: number; y: number }>): { x: number; y: number; apart: number } {
  const [one, other] = [...points.values()];
  return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, apart: Math.hypot(one.x - other.x, one.y - other.y) };
}

export function PictureView(props: Props) {
  const { scene, zoom } = props;
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const readout = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  const painter = useMemo(() => new Painter(), []);
  useEffect(() => () => painter.drop(), []);
  const now = useRef({ props, size });
  now.current = { props, size };

  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setSize({ width: entry.contentRect.width, height: entry.contentRect.height }));
    observer.observe(frame.current!);
    return () => observer.disconnect();
  }, []);

  useLayoutEffect(() => {
    if (!size.width || !size.height) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (canvas.current!.width !== width) canvas.current!.width = width;
    if (canvas.current!.height !== height) canvas.current!.height = height;
    painter.paint(canvas.current!.getContext("2d")!, scene, place(zoom, scene.picture, size), ratio);
    canvas.current!.dataset.shown = props.shownWord;
  });

  usePointers(frame, now);

  const tellPixel = (event: PointerEvent): void => {
    if (readout.current) readout.current.textContent = pixelWords(event, frame.current!, now.current);
  };
  return (
    <div
      class={`picture tool-${props.tool}`}
      ref={frame}
      onPointerMove={tellPixel}
      onPointerLeave={() => readout.current && (readout.current.textContent = "")}
    >
      <canvas ref={canvas} role="img" aria-label={props.label} />
      <div class="readout" ref={readout} aria-hidden="true" />
    </div>
  );
}

type Now = { current: { props: Props; size: Size } };

function usePointers(frame: { current: HTMLDivElement | null }, now: Now): void {
  useEffect(() => {
    const element = frame.current!;
    const points = new Map<number, { x: number; y: number }>();
    let drag: Drag | null = null;
    let pinch: { x: number; y: number; apart: number } | null = null;
    const inFrame = (event: MouseEvent): { x: number; y: number } => {
      const box = element.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const zoomBy = (factor: number, point: { x: number; y: number }, zoom = now.current.props.zoom): void => {
      const { props, size } = now.current;
      props.onZoom(zoomedAt(zoom, factor, point, props.scene.picture, size));
    };
    const onWheel = (event: WheelEvent): void => {
      event.preventDefault();
      zoomBy(Math.exp(-Math.sign(event.deltaY) * Math.min(0.5, Math.abs(event.deltaY) / 300)), inFrame(event));
    };
    const onDown = (event: PointerEvent): void => {
      element.setPointerCapture(event.pointerId);
      points.set(event.pointerId, inFrame(event));
      const { props } = now.current;
      const asWindow = event.button === 2 || (props.tool === "window" && event.button === 0);
      drag = { ...inFrame(event), zoom: props.zoom, window: props.scene.window ?? props.scene.picture.whole, asWindow };
      pinch = points.size === 2 ? pinchOf(points) : null;
    };
    const onMove = (event: PointerEvent): void => {
      if (!points.has(event.pointerId)) return;
      points.set(event.pointerId, inFrame(event));
      const { props, size } = now.current;
      const { picture } = props.scene;
      if (pinch && points.size === 2) {
        const next = pinchOf(points);
        zoomBy(next.apart / Math.max(1, pinch.apart), next);
        pinch = next;
      } else if (drag) {
        const point = inFrame(event);
        const [dx, dy] = [point.x - drag.x, point.y - drag.y];
        if (drag.asWindow) props.onWindow(dragged(drag.window, dx, dy, size.width, picture.whole));
        else props.onZoom(moved(drag.zoom, dx, dy, picture, size));
      }
    };
    const onUp = (event: PointerEvent): void => {
      points.delete(event.pointerId);
      drag = pinch = null;
    };
    const onDouble = (event: MouseEvent): void =>
      now.current.props.zoom.scale > 1 ? now.current.props.onZoom(WHOLE) : zoomBy(3, inFrame(event));
    const onMenu = (event: Event): void => event.preventDefault();
    element.addEventListener("wheel", onWheel, { passive: false });
    const listeners = { pointerdown: onDown, pointermove: onMove, pointerup: onUp, pointercancel: onUp, dblclick: onDouble, contextmenu: onMenu };
    for (const [name, listener] of Object.entries(listeners)) element.addEventListener(name, listener as EventListener);
    return () => {
      element.removeEventListener("wheel", onWheel);
      for (const [name, listener] of Object.entries(listeners)) element.removeEventListener(name, listener as EventListener);
    };
  }, []);
}

function pixelWords(event: PointerEvent, frame: HTMLElement, { props, size }: Now["current"]): string {
  const { picture, prediction, map, label, session } = props.scene;
  const box = frame.getBoundingClientRect();
  const placed = place(props.zoom, picture, size);
  const x = Math.floor((event.clientX - box.left - placed.left) / placed.scale);
  const y = Math.floor((event.clientY - box.top - placed.top) / placed.scale);
  if (x < 0 || y < 0 || x >= picture.width || y >= picture.height) return "";
  const { step } = picture.meta;
  const values = picture.channels.map((channel) => Number(channel[y * picture.width + x].toPrecision(4)));
  const words = [`x ${x * step}  y ${y * step}`, `value ${values.join(" ")}`];
  if (prediction) {
    const [px, py] = [Math.floor(x - prediction.left), Math.floor(y - prediction.top)];
    if (px >= 0 && py >= 0 && px < prediction.width && py < prediction.height) {
      const count = frequencyAt(prediction.samples.map((one) => one.labels), label, py * prediction.width + px);
      words.push(`${session.classes[label].name} in ${count} of ${prediction.samples.length}`);
      if (map) words.push(`${prediction.valueAt(map.name, label, px, py).toFixed(3)}${map.name === "mean" ? "" : " nats"}`);
    }
  }
  return words.join("   ");
}
