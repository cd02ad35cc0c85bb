/** "Use this one": which mask is shown, and saving it. */

import { useEffect, useState } from "preact/hooks";
import { Refused, type Session, api } from "../api";
import { type Choice, choiceToWord } from "../logic/choice";

interface Props {
  session: Session;
  image: number;
  run: number;
  choice: Choice;
  sample: number; // to go back to
  words: string; // of what is shown
  saved: string | null; // the file of an earlier save
  onChoice: (choice: Choice) => void;
  onSaved: () => void;
}

type State = { is: "idle" } | { is: "busy" } | { is: "asks" } | { is: "saved"; file: string } | { is: "says"; words: string };

export function Save({ session, image, run, choice, sample, words, saved, onChoice, onSaved }: Props) {
  const [state, setState] = useState<State>({ is: "idle" });
  const key = `${image} ${run} ${choiceToWord(choice)}`;
  useEffect(() => setState((old) => (old.is === "asks" ? { is: "idle" } : old)), [key]);
  useEffect(() => setState({ is: "idle" }), [image]);

  const save = async (overwrite: boolean): Promise<void> => {
    setState({ is: "busy" });
    try {
      const { file } = await api.save(image, run, choice, overwrite);
      setState({ is: "saved", file });
      onSaved();
    } catch (fault) {
      if (fault instanceof Refused && fault.exists) setState({ is: "asks" });
      else setState({ is: "says", words: (fault as Error).message });
    }
  };
  const undo = async (): Promise<void> => {
    try {
      const { restored } = await api.undo();
      setState({ is: "says", words: restored ? "Undone: the earlier mask is back." : "Undone: the mask is removed." });
      onSaved();
    } catch (fault) {
      setState({ is: "says", words: (fault as Error).message });
    }
  };
  const threshold = choice.kind === "mean" ? choice.threshold : undefined;
  const kinds: [string, string, Choice][] = [
    ["sample", "Sample", { kind: "sample", sample }],
    ["mean", "Mean", { kind: "mean" }],
    ["union", "Union", { kind: "union" }],
    ["intersection", "Common", { kind: "intersection" }],
  ];
  return (
    <section class="save" aria-label="Use this one">
      <div class="segments" role="group" aria-label="Which mask">
        {kinds.map(([kind, title, next]) => (
          <button
            type="button"
            key={kind}
            aria-pressed={choice.kind === kind}
            disabled={!session.has_background && kind === "union"}
            title={{ sample: "The chosen sample", mean: "The mean of the samples, above a threshold", union: "What any sample marks", intersection: "What all samples mark" }[kind]}
            onClick={() => onChoice(next)}
          >
            {title}
          </button>
        ))}
      </div>
      {choice.kind === "mean" && session.has_background && (
        <label class="slider">
          <span>{threshold === undefined ? "most likely class" : `probability ≥ ${threshold.toFixed(2)}`}</span>
          <input
            type="range"
            min="0.01"
            max="0.99"
            step="0.01"
            value={threshold ?? 0.5}
            aria-label="Threshold of the mean probability"
            onInput={(event) => onChoice({ kind: "mean", threshold: Number(event.currentTarget.value) })}
          />
        </label>
      )}
      {state.is === "asks" ? (
        <div class="asks" role="alert">
          <span>{saved ?? "A mask of this image"} is saved already. Replace it?</span>
          <button type="button" class="primary" onClick={() => void save(true)}>Replace</button>
          <button type="button" onClick={() => setState({ is: "idle" })}>Keep</button>
        </div>
      ) : (
        <div class="save-row">
          <button type="button" class="primary" id="save" disabled={state.is === "busy"} onClick={() => void save(false)} title={`Save the shown mask to ${session.saving.folder}, in the values of the data (S)`}>
            Save {words}
          </button>
          <button type="button" id="undo" onClick={() => void undo()} title="Undo the last save (U)">Undo</button>
        </div>
      )}
      <p class="soft status" role="status">
        {state.is === "saved"
          ? `Saved as ${state.file} in ${session.saving.folder}.`
          : state.is === "says"
            ? state.words
            : saved
              ? `Saved before: ${saved}`
              : ""}
      </p>
    </section>
  );
}
