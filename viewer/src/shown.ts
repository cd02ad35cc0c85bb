/** Which mask a run shows for a choice: one that came with the prediction, or one that the server makes. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { api, isAborted } from "./api";
import { type Choice, choiceToWord } from "./logic/choice";
import { latest } from "./logic/latest";
import type { LabelMap, Prediction } from "./model";

export interface Shown {
  choice: Choice;
  map: LabelMap | null;
  word: string; // of the choice that `map` is of: while one is made, of the one before
}

const CALM = 60; // milliseconds

interface Made {
  prediction: Prediction;
  word: string;
  kind: string;
  map: LabelMap;
}

/** The choice as far as this prediction has it; else its first reading. */
function within(prediction: Prediction, choice: Choice | null): Choice {
  const first: Choice = { kind: "sample", sample: prediction.meta.readings[0].medoid };
  if (!choice) return first;
  if (choice.kind === "sample") return choice.sample < prediction.samples.length ? choice : first;
  if (choice.kind === "latent") return prediction.meta.latent === "vector" ? choice : first;
  if (choice.kind === "scales") return prediction.meta.latent === "scales" ? choice : first;
  return choice;
}

function local(prediction: Prediction, choice: Choice): LabelMap | null {
  if (choice.kind === "sample") return prediction.samples[choice.sample];
  return choice.kind === "mean" && choice.threshold === undefined ? prediction.mostLikely : null;
}

export function useShown(prediction: Prediction | null, wanted: Choice | null, say: (words: string) => void): Shown | null {
  const [made, setMade] = useState<Made | null>(null);
  const make = useMemo(
    () =>
      latest(async ({ prediction, choice }: { prediction: Prediction; choice: Choice }) => {
        const { id, run } = prediction.meta;
        const isLatent = choice.kind === "latent" || choice.kind === "scales";
        const { meta, arrays } = await (isLatent ? api.decode : api.preview)(id, run, choice);
        const map = prediction.labelMap(arrays.labels.values as Uint8Array, meta.areas);
        setMade({ prediction, word: choiceToWord(choice), kind: choice.kind, map });
      }),
    [],
  );
  const choice = prediction && within(prediction, wanted);
  const own = prediction && choice && local(prediction, choice);
  const word = choice ? choiceToWord(choice) : "";
  useEffect(() => {
    if (!prediction || !choice || own || (made?.prediction === prediction && made.word === word)) return;
    make({ prediction, choice }).catch((fault) => isAborted(fault) || say((fault as Error).message));
  }, [prediction, word]);
  if (!prediction || !choice) return null;
  if (own) return { choice, map: own, word };
  const isMade = made?.prediction === prediction && made.kind === choice.kind;
  return { choice, map: isMade ? made.map : null, word: isMade ? made.word : "" };
}

/** What is shown, once it stays for a moment: what is beside the picture need not be painted at every flip. */
export function useCalm(shown: Shown | null, prediction: Prediction | null): Shown | null {
  const [calm, setCalm] = useState({ shown, prediction });
  useEffect(() => {
    const timer = setTimeout(() => setCalm({ shown, prediction }), CALM);
    return () => clearTimeout(timer);
  }, [shown?.word, shown?.map, prediction]);
  return calm.prediction === prediction && calm.shown ? calm.shown : shown;
}
