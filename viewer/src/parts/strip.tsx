/** The filmstrip: all samples of an image, reading by reading, and its raters. */

import { memo } from "preact/compat";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Session } from "../api";
import type { Box } from "../logic/contours";
import { BETWEEN, filmOf } from "../logic/film";
import { percent, shortNames } from "../logic/words";
import type { Picture, Prediction } from "../model";
import { Tile } from "./tile";

interface Props {
  session: Session;
  picture: Picture;
  prediction: Prediction;
  region: Box;
  hidden: readonly number[];
  chosen: number | null; // sample
  words: readonly string[]; // of each reading
  title: string | null;
  hasRaters: boolean;
  onChoose: (sample: number) => void;
  onPeek: (sample: number | null) => void;
  onRater: (rater: number | null) => void;
}

export const Strip = memo(function Strip(props: Props) {
  const { session, picture, prediction, region, hidden } = props;
  const list = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
    observer.observe(list.current!);
    return () => observer.disconnect();
  }, []);
  const counts = prediction.meta.readings.map((reading) => reading.samples.length);
  const groups = props.hasRaters ? [...counts, picture.raters.length] : counts;
  const { rows, side } = filmOf(groups, width - (props.title ? 96 : 0), props.title ? 48 : 64);
  const short = shortNames(picture.meta.raters.map(({ name }) => name));
  const tiles = { gridTemplateRows: `repeat(${rows}, auto)` };
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [props.chosen, prediction]);
  const drawn = { session, picture, region, hidden, side };
  const chosen = props.chosen ?? -1;
  return (
    <div class="strip" ref={list}>
      {props.title && <div class="strip-title">{props.title}</div>}
      <div class="groups" role="listbox" aria-label={`Samples${props.title ? ` of ${props.title}` : ""}`} aria-orientation="horizontal" onPointerLeave={() => props.onPeek(null)}>
        {prediction.meta.readings.map((reading, k) => (
          <div class="group" role="group" aria-label={`${percent(reading.share)} ${props.words[k]}`} key={k}>
            <div class="group-title" aria-hidden="true" style={{ maxWidth: `${Math.ceil(reading.samples.length / rows) * (side + BETWEEN)}px` }}>
              <b>{percent(reading.share)}</b> {reading.samples.length > rows ? props.words[k] : ""}
            </div>
            <div class="tiles" style={tiles}>
              {[reading.medoid, ...reading.samples.filter((one) => one !== reading.medoid)].map((sample) => (
                <div
                  role="option"
                  class="frame"
                  key={sample}
                  tabIndex={sample === chosen ? 0 : -1}
                  aria-selected={sample === chosen}
                  aria-label={`Sample ${sample + 1}`}
                  data-sample={sample}
                  onClick={() => props.onChoose(sample)}
                  onPointerEnter={(event) => event.pointerType === "mouse" && props.onPeek(sample)}
                >
                  <Tile {...drawn} prediction={prediction} shown={prediction.samples[sample]} />
                  <span class="number">{sample + 1}</span>
                </div>
              ))}
            </div>
          </div>
        ))}
      </div>
      {props.hasRaters && (
        <div class="group raters" role="group" aria-label="Raters" onPointerLeave={() => props.onRater(null)}>
          <div class="group-title">
            <b>{picture.raters.length}</b> {picture.raters.length === 1 ? "rater" : "raters"}
          </div>
          <div class="tiles" style={tiles}>
            {picture.meta.raters.map((rater, k) => (
              <button
                type="button"
                class="frame"
                key={rater.index}
                title={rater.name}
                aria-label={`Rater ${short[k]}: ${rater.name}`}
                onPointerEnter={() => props.onRater(k)}
                onFocus={() => props.onRater(k)}
                onBlur={() => props.onRater(null)}
              >
                <Tile {...drawn} prediction={null} shown={null} rater={k} />
                <span class="number">{short[k]}</span>
              </button>
            ))}
          </div>
        </div>
      )}
    </div>
  );
});
