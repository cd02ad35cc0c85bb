/** One session: the work list, the picture, its samples, and what they say. */

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Row, type Session, api } from "./api";
import { colourOf } from "./draw";
import { HELP, useKeys } from "./keys";
import { prefetch, useLoaded } from "./loading";
import type { Choice } from "./logic/choice";
import { LAYERS, MAPS, type Layer, type View, hashToView, viewToHash } from "./logic/view";
import { dragged } from "./logic/window";
import { type Zoom, WHOLE, moved, zoomedAt } from "./logic/zoom";
import { areaWords, unitOf } from "./logic/words";
import { type Prediction, regionOf } from "./model";
import { Areas } from "./parts/areas";
import { Classes } from "./parts/classes";
import { Dialog } from "./parts/dialog";
import { Explorer } from "./parts/explorer";
import { Layers, Tools } from "./parts/layers";
import type { Tool } from "./parts/picture";
import { Readings, readingWords } from "./parts/readings";
import { Save } from "./parts/save";
import { Stage } from "./parts/stage";
import { Strip } from "./parts/strip";
import { TopBar } from "./parts/topbar";
import { useUploads } from "./parts/uploads";
import { WorkList } from "./parts/worklist";
import { useCalm, useShown } from "./shown";

const FRAME = { width: 1000, height: 1000 }; // keys zoom and move as in a square frame

/** The view, which the address follows, and which follows the address. */
function useView(): [View, (change: Partial<View>) => void, (change: (view: View) => View) => void] {
  const [view, setView] = useState<View>(() => hashToView(location.hash));
  const change = useCallback((part: Partial<View>) => setView((old) => ({ ...old, ...part })), []);
  const hash = viewToHash(view);
  useEffect(() => {
    const timer = setTimeout(() => history.replaceState(null, "", `#${hash}`), 120);
    return () => clearTimeout(timer);
  }, [hash]);
  useEffect(() => {
    const onHash = (): void => setView(hashToView(location.hash));
    addEventListener("hashchange", onHash);
    return () => removeEventListener("hashchange", onHash);
  }, []);
  return [view, change, setView];
}

export function Viewer({ session }: { session: Session }) {
  const [view, change, setView] = useView();
  const [peek, setPeek] = useState<number | null>(null);
  const [rater, setRater] = useState<number | null>(null);
  const [tool, setTool] = useState<Tool>("move");
  const [opacity, setOpacity] = useState(0.7);
  const [hasList, setHasList] = useState(() => innerWidth >= 1100);
  const [helps, setHelps] = useState(false);
  const [ticket, setTicket] = useState(0);
  const [rows, setRows] = useState<readonly Row[]>([]);
  const [words, say] = useState("");
  const lastSample = useRef(0);

  const run = Math.min(view.run, session.runs.length - 1);
  const other = view.other !== null && view.other < session.runs.length && view.other !== run ? view.other : null;
  const one = useLoaded(view.image, run);
  const two = useLoaded(view.image, other);
  const choice: Choice | null = peek === null ? view.choice : { kind: "sample", sample: peek };
  const shown = useShown(one.prediction, choice, say);
  const beside = useShown(two.prediction, choice, say);
  const calm = useCalm(shown, one.prediction);
  const picture = one.picture;
  const counted = session.classes.flatMap((cls, k) => (cls.counted ? [k] : []));
  const label = view.label !== null && view.label < session.classes.length ? view.label : (counted[0] ?? 0);
  const hidden = useMemo(() => view.hidden, [view.hidden.join()]);
  const region = useMemo(() => (picture ? regionOf(picture, one.prediction, counted) : null), [picture, one.prediction]);
  const texts = useMemo(() => (one.prediction ? readingWords(session, one.prediction) : []), [one.prediction]);
  const otherTexts = useMemo(() => (two.prediction ? readingWords(session, two.prediction) : []), [two.prediction]);
  const unit = useMemo(() => unitOf(picture?.meta.pixel_size ?? null), [picture]);
  const sample = shown?.choice.kind === "sample" ? shown.choice.sample : null;
  if (sample !== null && peek === null) lastSample.current = sample;

  const query = { run, sort: session.sorts.includes(view.sort) ? view.sort : session.sorts[0], search: view.search };
  const show = useCallback((image: number): void => {
    setPeek(null);
    setRater(null);
    setView((old) => ({ ...old, image, choice: ofAnyImage(old.choice), zoom: WHOLE }));
  }, []);
  const step = async (by: "next" | "previous"): Promise<void> => {
    if (view.image === null) return;
    const image = (await api.position(view.image, query).catch(() => null))?.[by] ?? null;
    if (image !== null) show(image);
    else say(by === "next" ? "This is the last image of the list." : "This is the first image of the list.");
  };
  const onChoice = useCallback((chosen: Choice): void => {
    setPeek(null);
    change({ choice: chosen });
  }, []);
  const choose = useCallback((chosen: number): void => onChoice({ kind: "sample", sample: chosen }), []);
  const onRows = useCallback((found: readonly Row[]) => setRows(found), []);
  const onLayer = (layer: Layer): void =>
    change({ layers: LAYERS.filter((name) => view.layers.includes(name) !== (name === layer)) });
  const setZoom = useCallback((zoom: Zoom): void => change({ zoom }), []);
  const setWindow = useCallback((window: View["window"]): void => change({ window }), []);
  const uploads = useUploads(session, (image) => {
    show(image);
    setTicket((count) => count + 1);
  }, say);

  useEffect(() => {
    if (view.image === null && rows.length) show(rows[0].id);
  }, [rows.length > 0, view.image]);
  useEffect(() => {
    if (!one.prediction || view.image === null) return;
    const image = view.image;
    document.title = `${one.prediction.meta.name} – plurimask`;
    const timer = setTimeout(async () => {
      for (const map of one.prediction!.samples) counted.forEach((k) => map.has(k) && map.path(k)); // so that flipping has nothing left to do
      const next = (await api.position(image, query).catch(() => null))?.next ?? null;
      if (next !== null) prefetch(next, other === null ? [run] : [run, other]);
    }, 250);
    return () => clearTimeout(timer);
  }, [one.prediction]);
  useEffect(() => {
    if (!words) return;
    const timer = setTimeout(() => say(""), 6000);
    return () => clearTimeout(timer);
  }, [words]);

  const flip = (by: number): void => {
    if (!one.prediction) return;
    const { order } = one.prediction;
    const at = order.indexOf(sample ?? lastSample.current);
    choose(order[(at + by + order.length) % order.length]);
  };
  const flipReading = (by: number): void => {
    if (!one.prediction) return;
    const { readings } = one.prediction.meta;
    const at = one.prediction.readingOf(sample ?? lastSample.current);
    choose(readings[(at + by + readings.length) % readings.length].medoid);
  };
  const zoomBy = (factor: number | null): void => {
    if (!picture) return;
    const middle = { x: FRAME.width / 2, y: FRAME.height / 2 };
    change({ zoom: factor === null ? WHOLE : zoomedAt(view.zoom, factor, middle, picture, FRAME) });
  };
  const zoomToObject = (): void => {
    if (!picture || !region) return;
    const scale = Math.max(1, Math.max(picture.width, picture.height) / (region.right - region.left));
    change({ zoom: { scale, x: (region.left + region.right) / 2 / picture.width, y: (region.top + region.bottom) / 2 / picture.height } });
  };
  const move = (dx: number, dy: number): void => {
    if (picture) change({ zoom: moved(view.zoom, 80 * dx, 80 * dy, picture, FRAME) });
  };
  const rewindow = (wider: number, brighter: number): void => {
    if (picture) change({ window: dragged(view.window ?? picture.whole, wider * 30, brighter * 30, 1000, picture.whole) });
  };
  const toggleBeside = (): void => {
    const free = session.runs.find(({ id }) => id !== run);
    if (free) change({ other: other === null ? free.id : null });
    else say("There is one run here: give several to `plurimask view` to see two side by side.");
  };
  const nextMap = (): void => change({ map: [...MAPS, null][view.map ? MAPS.indexOf(view.map) + 1 : 0] });
  const press = (id: string): void => document.getElementById(id)?.click();

  useKeys({
    j: () => void step("next"),
    k: () => void step("previous"),
    ArrowLeft: () => flip(-1),
    ArrowRight: () => flip(1),
    ArrowUp: () => flipReading(-1),
    ArrowDown: () => flipReading(1),
    m: () => onLayer("mask"),
    a: () => onLayer("all"),
    g: () => onLayer("bands"),
    r: () => onLayer("raters"),
    e: nextMap,
    w: () => setTool(tool === "move" ? "window" : "move"),
    "+": () => zoomBy(1.5),
    "=": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    "0": () => zoomBy(null),
    z: zoomToObject,
    "Shift+ArrowLeft": () => move(1, 0),
    "Shift+ArrowRight": () => move(-1, 0),
    "Shift+ArrowUp": () => move(0, 1),
    "Shift+ArrowDown": () => move(0, -1),
    "[": () => rewindow(0, -1),
    "]": () => rewindow(0, 1),
    ",": () => rewindow(1, 0),
    ".": () => rewindow(-1, 0),
    s: () => press("save"),
    u: () => press("undo"),
    b: toggleBeside,
    l: () => setHasList(!hasList),
    "/": () => {
      setHasList(true);
      requestAnimationFrame(() => document.getElementById("search")?.focus());
    },
    "?": () => setHelps(true),
  });

  const title = (id: number): string => session.runs[id].name;
  const isPair = other !== null;
  const stages = [
    { id: run, loaded: one, shown },
    ...(isPair ? [{ id: other, loaded: two, shown: beside }] : []),
  ];
  const top = view.map
    ? Math.max(...stages.map(({ loaded }) => loaded.prediction?.barTop(view.map!, label) ?? 0)) || null
    : null;
  const shownWords = shown ? `${wordsOf(shown.choice)}${isPair ? ` of ${title(run)}` : ""}` : "";
  const common = { session, region: region!, hidden, onChoose: choose, onPeek: setPeek };
  return (
    <div class={`app${hasList ? " with-list" : ""}${isPair ? " pair" : ""}`}>
      <TopBar
        session={session}
        run={run}
        other={other}
        imageName={picture?.meta.name ?? ""}
        hasList={hasList}
        onList={() => setHasList(!hasList)}
        onRun={(id) => change({ run: id, other: id === other ? null : other })}
        onOther={(id) => change({ other: id })}
        onFiles={uploads.take}
        onHelp={() => setHelps(true)}
        say={say}
      />
      {hasList && (
        <WorkList
          session={session}
          {...query}
          current={view.image}
          ticket={ticket}
          onSort={(sort) => change({ sort })}
          onSearch={(search) => change({ search })}
          onImage={show}
          onRows={onRows}
          onStep={(by) => void step(by)}
        />
      )}
      <main aria-label="Picture and samples">
        <Layers
          session={session}
          view={view}
          hasRaters={session.data.has_raters}
          opacity={opacity}
          onLayer={onLayer}
          onMap={(map) => change({ map })}
          onOpacity={setOpacity}
        />
        <div class="stages">
          {view.image === null && session.data.num_images === 0 && (
            <div class="empty">
              <p>Drop a PNG, TIFF or JPEG here to see what the run makes of it.</p>
            </div>
          )}
          <Tools view={view} tool={tool} onTool={setTool} onZoom={zoomBy} onObject={zoomToObject} onResetWindow={() => change({ window: null })} />
          {stages.map(({ id, loaded, shown: own }) => (
            <Stage
              key={id}
              session={session}
              image={view.image}
              run={id}
              loaded={loaded}
              shown={own}
              view={view}
              label={label}
              hidden={hidden}
              top={top}
              opacity={opacity}
              rater={rater}
              tool={tool}
              title={isPair ? title(id) : null}
              isFirst={id === run}
              onZoom={setZoom}
              onWindow={setWindow}
              onRater={setRater}
            />
          ))}
        </div>
        {picture && stages.map(({ id, loaded }) =>
          loaded.prediction && (
            <Strip
              key={id}
              {...common}
              picture={picture}
              prediction={loaded.prediction}
              words={id === run ? texts : otherTexts}
              chosen={sampleOf(view.choice, loaded.prediction)}
              title={isPair ? title(id) : null}
              hasRaters={id === run && picture.raters.length > 0}
              onRater={setRater}
            />
          ),
        )}
      </main>
      <aside aria-label="What it shows">
        {session.runs[run].undertrained && <p class="note">This run was trained too little for its masks to be trusted.</p>}
        {picture?.meta.note && <p class="note">{picture.meta.note}</p>}
        {picture && stages.map(({ id, loaded }) =>
          loaded.prediction && (
            <Readings
              key={id}
              {...common}
              picture={picture}
              prediction={loaded.prediction}
              words={id === run ? texts : otherTexts}
              label={label}
              unit={unit}
              chosen={sample}
              title={isPair ? title(id) : null}
            />
          ),
        )}
        {picture && one.prediction && shown && (
          <>
            <Areas picture={picture} prediction={one.prediction} shown={calm?.map ?? shown.map} label={label} name={session.classes[label].name} colour={colourOf(session, label)} unit={unit} onChoose={choose} />
            {!session.is_binary && (
              <Classes session={session} shown={calm?.map ?? shown.map} label={label} hidden={view.hidden} unit={unit} onLabel={(next) => change({ label: next })} onHidden={(next) => change({ hidden: next })} />
            )}
            {one.prediction.meta.latent && (
              <Explorer image={view.image!} run={run} picture={picture} choice={shown.choice.kind === "sample" && calm ? calm.choice : shown.choice} sampleColour={session.colours.sample} onChoice={onChoice} />
            )}
            <Save
              session={session}
              image={view.image!}
              run={run}
              choice={shown.choice}
              sample={lastSample.current}
              words={`${shownWords}${shown.map && session.is_binary && !isPair ? `, ${areaWords(shown.map.areas[label], unit)}` : ""}`}
              saved={rows.find((row) => row.id === view.image)?.saved?.file ?? null}
              onChoice={onChoice}
              onSaved={() => setTicket((count) => count + 1)}
            />
          </>
        )}
      </aside>
      {uploads.page}
      <div class="toast" role="status" aria-live="polite">{words}</div>
      {helps && (
        <Dialog title="Keys" onClose={() => setHelps(false)}>
          <dl class="keys">
            {HELP.map(([key, what]) => <><dt><kbd>{key}</kbd></dt><dd>{what}</dd></>)}
          </dl>
          {session.data.notes.length > 0 && <><h3>About these data</h3><ul>{session.data.notes.map((note) => <li key={note}>{note}</li>)}</ul></>}
        </Dialog>
      )}
    </div>
  );
}

/** Whoever saves means or unions goes on to do so; a sample is of its image alone. */
function ofAnyImage(choice: Choice | null): Choice | null {
  return choice && ["mean", "union", "intersection"].includes(choice.kind) ? choice : null;
}

function sampleOf(choice: Choice | null, prediction: Prediction): number | null {
  if (choice === null) return prediction.meta.readings[0].medoid;
  return choice.kind === "sample" ? choice.sample : null;
}

function wordsOf(choice: Choice): string {
  switch (choice.kind) {
    case "sample":
      return `sample ${choice.sample + 1}`;
    case "mean":
      return choice.threshold === undefined ? "most likely mask" : `mean ≥ ${choice.threshold.toFixed(2)}`;
    case "union":
      return "union";
    case "intersection":
      return "common part";
    default:
      return "explored mask";
  }
}
