/** What the image may show, in words, pictures and percentages. */

import type { Session } from "../api";
import type { Box } from "../logic/contours";
import { type Unit, areaWords, classWords, digits, percent, sizeWords, verdict } from "../logic/words";
import type { Picture, Prediction } from "../model";
import { Tile } from "./tile";

/** Of each reading, a word or two. */
export function readingWords(session: Session, prediction: Prediction): string[] {
  const { readings, areas } = prediction.meta;
  const counted = session.classes.flatMap((one, k) => (one.counted ? [k] : []));
  if (session.is_binary)
    return sizeWords(readings.map(({ empty, medoid }) => ({ empty, area: counted.reduce((sum, k) => sum + areas[medoid][k], 0) })));
  return classWords(readings.map(({ medoid }) => areas[medoid]), session.classes.map(({ name }) => name));
}

interface Props {
  session: Session;
  picture: Picture;
  prediction: Prediction;
  region: Box;
  hidden: readonly number[];
  words: readonly string[];
  label: number;
  unit: Unit;
  chosen: number | null;
  title: string | null;
  onChoose: (sample: number) => void;
  onPeek: (sample: number | null) => void;
}

export function Readings(props: Props) {
  const { session, picture, prediction, region, hidden, words, label, unit, chosen } = props;
  const { readings, scores } = prediction.meta;
  const active = chosen === null ? -1 : prediction.readingOf(chosen);
  const range = ([low, high]: readonly [number, number]): string =>
    low === high ? areaWords(low, unit) : `${digits(low * unit.perPixel)} – ${areaWords(high, unit)}`;
  return (
    <section class="readings" aria-label={props.title ? `Readings of ${props.title}` : "Readings"}>
      {props.title && <div class="run-title">{props.title}</div>}
      <h2>{verdict(readings, scores.disagreement)}</h2>
      <p class="soft">{summary(prediction)}</p>
      <div class="reading-list" onPointerLeave={() => props.onPeek(null)}>
        {readings.map((reading, k) => (
          <button
            type="button"
            class="reading"
            key={k}
            aria-pressed={k === active}
            title={`${reading.samples.length} of ${prediction.samples.length} samples`}
            onClick={() => props.onChoose(reading.medoid)}
            onPointerEnter={(event) => event.pointerType === "mouse" && props.onPeek(reading.medoid)}
          >
            <Tile session={session} picture={picture} prediction={prediction} shown={prediction.samples[reading.medoid]} region={region} hidden={hidden} side={40} />
            <span class="reading-words">
              <span class="reading-head">
                <b class="share">{percent(reading.share)}</b>
                <span class="reading-name">{words[k]}</span>
                <span class="soft">{reading.empty || !session.is_binary ? "" : range(reading.areas[label])}</span>
              </span>
              <span class="bar">
                <span style={{ width: `${100 * reading.share}%` }} />
              </span>
            </span>
          </button>
        ))}
      </div>
    </section>
  );
}

function summary(prediction: Prediction): string {
  const { disagreement, ged, ged_oracle } = prediction.meta.scores;
  const words = disagreement === null ? [] : [`Two samples overlap by ${percent(1 - disagreement)} (Dice)`];
  if (ged !== null) words.push(`GED² to the raters ${ged.toFixed(2)}${ged_oracle === null ? "" : `, among raters ${ged_oracle.toFixed(2)}`}`);
  return words.length ? `${words.join(". ")}.` : "";
}
