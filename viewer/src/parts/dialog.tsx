import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} aria-label={title} onClose={onClose} onClick={(event) => event.target === dialog.current && dialog.current!.close()}>
      <div class="dialog-body">
        <h2>{title}</h2>
        {children}
        <button type="button" class="primary" onClick={() => dialog.current!.close()}>Close</button>
      </div>
    </dialog>
  );
}
