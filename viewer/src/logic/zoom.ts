/** Where a picture lies in its frame. */

export interface Zoom {
  scale: number; // 1: the whole picture fits the frame
  x: number; // the picture's point in the middle of the frame, 0 to 1
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

export interface Placement {
  scale: number; // screen pixels of a picture's pixel
  left: number; // of the picture's corner in the frame
  top: number;
}

export const WHOLE: Zoom = { scale: 1, x: 0.5, y: 0.5 };
const MOST = 64;

export function place(zoom: Zoom, picture: Size, frame: Size): Placement {
  const scale = zoom.scale * Math.min(frame.width / picture.width, frame.height / picture.height);
  return {
    scale,
    left: frame.width / 2 - zoom.x * picture.width * scale,
    top: frame.height / 2 - zoom.y * picture.height * scale,
  };
}

/** Zoomed by a factor about a point of the frame, which stays where it is while there is room. */
export function zoomedAt(zoom: Zoom, factor: number, point: { x: number; y: number }, picture: Size, frame: Size): Zoom {
  const before = place(zoom, picture, frame);
  const scale = Math.min(MOST, Math.max(1, zoom.scale * factor));
  const after = place({ ...zoom, scale }, picture, frame).scale;
  const at = { x: (point.x - before.left) / before.scale, y: (point.y - before.top) / before.scale };
  return bounded({
    scale,
    x: (at.x - (point.x - frame.width / 2) / after) / picture.width,
    y: (at.y - (point.y - frame.height / 2) / after) / picture.height,
  });
}

export function moved(zoom: Zoom, dx: number, dy: number, picture: Size, frame: Size): Zoom {
  const { scale } = place(zoom, picture, frame);
  return bounded({ ...zoom, x: zoom.x - dx / scale / picture.width, y: zoom.y - dy / scale / picture.height });
}

/** The middle of the frame stays over the picture, and a whole picture in the middle. */
function bounded({ scale, x, y }: Zoom): Zoom {
  const free = 0.5 - 0.5 / scale;
  const within = (value: number): number => Math.min(0.5 + free, Math.max(0.5 - free, value));
  return { scale, x: within(x), y: within(y) };
}
