/** Dropping in an own image. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Session, isAborted, upload } from "../api";

interface Sending {
  name: string;
  share: number;
  stop: AbortController;
}

export function useUploads(session: Session, onImage: (image: number) => void, say: (words: string) => void) {
  const [sending, setSending] = useState<Sending | null>(null);
  const [isOver, setIsOver] = useState(false);
  const depth = useRef(0);

  const take = async (files: FileList): Promise<void> => {
    let last: number | null = null;
    for (const file of files) {
      if (file.size > session.limits.upload_bytes) {
        say(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB: at most ${Math.round(session.limits.upload_bytes / 2 ** 20)} MB can be opened here.`);
        continue;
      }
      const stop = new AbortController();
      setSending({ name: file.name, share: 0, stop });
      try {
        last = (await upload(file, (share) => setSending({ name: file.name, share, stop }), stop.signal)).id;
      } catch (fault) {
        if (isAborted(fault)) break;
        say(`${file.name}: ${(fault as Error).message}`);
      }
    }
    setSending(null);
    if (last !== null) onImage(last);
  };
  const now = useRef(take);
  now.current = take;

  useEffect(() => {
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent): void => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth.current++;
      setIsOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (hasFiles(event) && --depth.current <= 0) setIsOver(false);
    };
    const over = (event: DragEvent): void => void (hasFiles(event) && event.preventDefault());
    const drop = (event: DragEvent): void => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth.current = 0;
      setIsOver(false);
      if (event.dataTransfer!.files.length) void now.current(event.dataTransfer!.files);
    };
    const listeners = { dragenter: enter, dragleave: leave, dragover: over, drop };
    for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener as EventListener);
    return () => {
      for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener as EventListener);
    };
  }, []);

  const page = sending ? (
    <div class="drop sending" role="status">
      <p>Sending {sending.name}</p>
      <progress max="1" value={sending.share} aria-label="Sent" />
      <button type="button" onClick={() => sending.stop.abort()}>Cancel</button>
    </div>
  ) : isOver ? (
    <div class="drop">
      <p>Drop a PNG, TIFF or JPEG to see what the run makes of it</p>
    </div>
  ) : null;
  return { take: (files: FileList) => void take(files), page };
}
