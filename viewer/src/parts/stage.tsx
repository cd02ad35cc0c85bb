/** One run's picture, or what there is to say while there is none. */

import { useEffect, useState } from "preact/hooks";
import type { Session } from "../api";
import type { Scene } from "../draw";
import { type Loaded, useJob } from "../loading";
import type { View } from "../logic/view";
import type { Zoom } from "../logic/zoom";
import type { Shown } from "../shown";
import { Legend } from "./layers";
import { PictureView, type Tool } from "./picture";

interface Props {
  session: Session;
  image: number | null;
  run: number;
  loaded: Loaded;
  shown: Shown | null;
  view: View;
  label: number;
  hidden: readonly number[];
  top: number | null;
  opacity: number;
  rater: number | null;
  tool: Tool;
  title: string | null;
  isFirst: boolean;
  onZoom: (zoom: Zoom) => void;
  onWindow: (window: View["window"]) => void;
  onRater: (rater: number | null) => void;
}

export function Stage(props: Props) {
  const { session, image, run, loaded, shown, view, label, top, title } = props;
  const { picture, prediction, error, stopped } = loaded;
  const isWaiting = image !== null && !prediction && !error && !stopped;
  const isSlow = useAfter(250, isWaiting, `${image} ${run}`);
  const job = useJob(image, run, isSlow);
  const isNothing = view.layers.includes("mask") && prediction !== null && shown?.map && session.is_binary && !shown.map.areas.some((pixels, k) => session.classes[k].counted && pixels > 0);
  const scene: Scene | null = picture && {
    session,
    picture,
    prediction,
    shown: shown?.map ?? null,
    layers: view.layers,
    map: view.map && prediction && top !== null ? { name: view.map, top, opacity: props.opacity } : null,
    label,
    hidden: props.hidden,
    rater: props.rater,
    window: view.window,
  };
  const name = picture ? `${picture.meta.name}${title ? `, ${title}` : ""}${shown ? `: ${shown.word.match(/^\d/) ? "sample " : ""}${shown.word}` : ""}` : "";
  return (
    <div class="stage">
      {scene && <PictureView scene={scene} shownWord={shown?.word ?? ""} label={name} zoom={view.zoom} tool={props.tool} onZoom={props.onZoom} onWindow={props.onWindow} />}
      {picture && prediction && <Legend title={title} isFirst={props.isFirst} session={session} picture={picture} view={view} label={label} top={top} onRater={props.onRater} />}
      {isNothing && props.rater === null && <div class="badge">This mask is empty: nothing is marked</div>}
      {isSlow && (
        <div class="cover" role="status">
          <p>{job ? job.phase : "Predicting …"}</p>
          <progress aria-label="Progress" {...(job && job.total > 0 && job.done > 0 ? { value: job.done, max: job.total } : {})} />
          <button type="button" onClick={loaded.stop}>Cancel</button>
        </div>
      )}
      {(error || stopped) && (
        <div class="cover" role="alert">
          <p>{error ?? "Cancelled."}</p>
          <button type="button" onClick={loaded.again}>Try again</button>
        </div>
      )}
    </div>
  );
}

/** Whether something has gone on for some milliseconds. */
function useAfter(delay: number, is: boolean, key: string): boolean {
  const [since, setSince] = useState<string | null>(null);
  useEffect(() => {
    if (!is) return setSince(null);
    const timer = setTimeout(() => setSince(key), delay);
    return () => clearTimeout(timer);
  }, [is, key]);
  return is && since === key;
}
