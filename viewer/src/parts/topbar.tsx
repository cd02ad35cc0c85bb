import { useRef, useState } from "preact/hooks";
import type { Session } from "../api";

interface Props {
  session: Session;
  run: number;
  other: number | null;
  imageName: string;
  hasList: boolean;
  onList: () => void;
  onRun: (run: number) => void;
  onOther: (run: number | null) => void;
  onFiles: (files: FileList) => void;
  onHelp: () => void;
  say: (words: string) => void;
}

type Theme = "dark" | "light";

const themeNow = (): Theme => (document.documentElement.dataset.theme as Theme | undefined) ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");

/** The colours that were chosen last, before anything is shown. */
export function startTheme(): void {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
}

export function TopBar(props: Props) {
  const { session, run, other } = props;
  const file = useRef<HTMLInputElement>(null);
  const [theme, setTheme] = useState<Theme>(themeNow);
  const turn = (): void => {
    const next = theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
    setTheme(next);
  };
  const copy = async (): Promise<void> => {
    await new Promise((done) => setTimeout(done, 150)); // the address follows the view
    try {
      await navigator.clipboard.writeText(location.href);
      props.say("The link to this view is copied.");
    } catch {
      props.say("The browser does not allow copying: take the address from the address bar.");
    }
  };
  const options = session.runs.map(({ id, name, method }) => <option key={id} value={id}>{session.runs.length > 1 || name === method ? name : `${name} (${method})`}</option>);
  return (
    <header class="topbar">
      <button type="button" class="quiet" aria-pressed={props.hasList} aria-label="Work list" title="Hide or show the work list (L)" onClick={props.onList}>☰</button>
      <h1 title={session.data.name}>{props.imageName || session.data.name}</h1>
      <span class="soft data-name">{session.data.name}</span>
      <span class="space" />
      <label class="run">
        <span class="soft">Run</span>
        <select value={run} aria-label="Run" title={session.runs[run].summary} onChange={(event) => props.onRun(Number(event.currentTarget.value))}>{options}</select>
      </label>
      {session.runs.length > 1 && (
        <label class="run">
          <span class="soft">beside</span>
          <select value={other ?? ""} aria-label="Second run, side by side" onChange={(event) => props.onOther(event.currentTarget.value === "" ? null : Number(event.currentTarget.value))}>
            <option value="">none</option>
            {options.filter((_, k) => session.runs[k].id !== run)}
          </select>
        </label>
      )}
      <button type="button" onClick={() => file.current!.click()} title="Or drop an image anywhere on this page">Open image</button>
      <input ref={file} type="file" hidden aria-label="Image file" accept=".png,.tif,.tiff,.jpg,.jpeg" onChange={(event) => {
        if (event.currentTarget.files?.length) props.onFiles(event.currentTarget.files);
        event.currentTarget.value = "";
      }} />
      <button type="button" onClick={() => void copy()} title="Copy a link to this image, sample, layers and zoom">Copy link</button>
      <button type="button" class="quiet" aria-label={theme === "dark" ? "Light colours" : "Dark colours"} title={theme === "dark" ? "Light colours" : "Dark colours"} onClick={turn}>{theme === "dark" ? "☀" : "☾"}</button>
      <button type="button" class="quiet" aria-label="Keys and help" title="Keys and help (?)" onClick={props.onHelp}>?</button>
    </header>
  );
}
