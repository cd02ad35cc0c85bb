/** The classes of an image: which are drawn, and which one maps and areas are of. */

import type { Session } from "../api";
import { type Unit, areaWords } from "../logic/words";
import type { LabelMap } from "../model";

interface Props {
  session: Session;
  shown: LabelMap | null;
  label: number;
  hidden: readonly number[];
  unit: Unit;
  onLabel: (label: number) => void;
  onHidden: (hidden: number[]) => void;
}

export function Classes({ session, shown, label, hidden, unit, onLabel, onHidden }: Props) {
  const classes = session.classes.map((one, k) => ({ ...one, k })).filter(({ k }) => !(session.has_background && k === 0));
  const all = classes.map(({ k }) => k);
  const toggle = (k: number): void => onHidden(hidden.includes(k) ? hidden.filter((one) => one !== k) : [...hidden, k]);
  return (
    <section class="classes" aria-label="Classes">
      <h3>
        Classes
        <span class="buttons">
          <button type="button" onClick={() => onHidden([])}>All</button>
          <button type="button" onClick={() => onHidden(all.filter((k) => k !== label))}>Only {session.classes[label].name}</button>
        </span>
      </h3>
      <ul>
        {classes.map(({ name, colour, k }) => (
          <li key={k} class={k === label ? "chosen" : ""}>
            <input type="checkbox" checked={!hidden.includes(k)} aria-label={`Show ${name}`} onChange={() => toggle(k)} />
            <button type="button" aria-pressed={k === label} title={`Maps, areas and all contours of ${name}`} onClick={() => onLabel(k)}>
              <svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" rx="3" fill={colour} /></svg>
              {name}
              <span class="soft">{shown ? areaWords(shown.areas[k], unit) : ""}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
