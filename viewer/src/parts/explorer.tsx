/** Between the samples: a point in the plane of the latents, or a draw for each scale, and the mask that it stands for. */

import { memo } from "preact/compat";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Latent, api } from "../api";
import type { Choice } from "../logic/choice";
import type { Picture } from "../model";

interface Props {
  image: number;
  run: number;
  picture: Picture;
  choice: Choice;
  sampleColour: string;
  onChoice: (choice: Choice) => void;
}

export const Explorer = memo(function Explorer(props: Props) {
  const [latent, setLatent] = useState<{ key: string; latent: Latent } | null>(null);
  const key = `${props.image} ${props.run}`;
  useEffect(() => {
    let isCurrent = true;
    api.latent(props.image, props.run).then(
      (found) => isCurrent && setLatent({ key, latent: found }),
      () => null,
    );
    return () => {
      isCurrent = false;
    };
  }, [key]);
  if (latent?.key !== key || latent.latent.kind === null) return null;
  return latent.latent.kind === "vector" ? <Plane {...props} latent={latent.latent} /> : <Scales {...props} latent={latent.latent} />;
});

const SIDE = 288;

function Plane({ latent, picture, choice, sampleColour, onChoice }: Props & { latent: Extract<Latent, { kind: "vector" }> }) {
  const plane = useRef<SVGSVGElement>(null);
  const isDragging = useRef(false);
  const reach = latent.limit;
  const unit = SIDE / (2 * reach);
  const toX = (value: number): number => SIDE / 2 + value * unit;
  const toY = (value: number): number => SIDE / 2 - value * unit;
  const base = choice.kind === "latent" ? choice.base : null;
  const at: [number, number] =
    choice.kind === "latent" ? [choice.x, choice.y] : choice.kind === "sample" ? (latent.samples[choice.sample] ?? [0, 0]) : [0, 0];
  const isLive = choice.kind === "latent";
  const go = (x: number, y: number, from = base): void => {
    const within = (value: number): number => Math.max(-reach, Math.min(reach, value));
    onChoice({ kind: "latent", x: within(x), y: within(y), base: from });
  };
  const goTo = (event: PointerEvent): void => {
    const box = plane.current!.getBoundingClientRect();
    const from = isLive ? base : choice.kind === "sample" ? choice.sample : null;
    go(((event.clientX - box.left) / box.width - 0.5) * 2 * reach, (0.5 - (event.clientY - box.top) / box.height) * 2 * reach, from);
  };
  const onKey = (event: KeyboardEvent): void => {
    const step = event.shiftKey ? 0.5 : 0.1;
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    event.stopPropagation();
    go(at[0] + dx, at[1] + dy, isLive ? base : choice.kind === "sample" ? choice.sample : null);
  };
  return (
    <section class="explorer" aria-label="Explore">
      <h3>Explore between the samples</h3>
      <svg
        ref={plane}
        viewBox={`0 0 ${SIDE} ${SIDE}`}
        class="plane"
        tabindex={0}
        role="application"
        aria-label={`Point in the plane of ${latent.names.join(" and ")}: ${at.map((value) => value.toFixed(2)).join(", ")}. Arrow keys move it.`}
        onKeyDown={onKey}
        onPointerDown={(event) => {
          isDragging.current = true;
          plane.current!.setPointerCapture(event.pointerId);
          goTo(event);
        }}
        onPointerMove={(event) => isDragging.current && goTo(event)}
        onPointerUp={() => (isDragging.current = false)}
        onPointerCancel={() => (isDragging.current = false)}
      >
        {[1, 2].map((sigma) => (
          <circle key={sigma} class={sigma === 1 ? "prior inner" : "prior"} cx={SIDE / 2} cy={SIDE / 2} r={sigma * unit} />
        ))}
        <path class="axis" d={`M${SIDE / 2} 0V${SIDE}M0 ${SIDE / 2}H${SIDE}`} />
        <text x={SIDE / 2 + unit * 0.72} y={SIDE / 2 - unit * 0.74}>1 σ</text>
        <text x={SIDE - 4} y={SIDE / 2 - 5} text-anchor="end">{latent.names[0]}</text>
        <text x={SIDE / 2 + 5} y={13}>{latent.names[1]}</text>
        {latent.raters.map(({ index, mean, sigma }, k) => {
          const rater = picture.meta.raters.find((one) => one.index === index) ?? picture.meta.raters[k];
          return (
            <g key={k} stroke={rater?.colour} fill={rater?.colour}>
              <title>{rater?.name}</title>
              <ellipse cx={toX(mean[0])} cy={toY(mean[1])} rx={Math.max(3, sigma[0] * unit)} ry={Math.max(3, sigma[1] * unit)} fill-opacity="0.18" stroke-width="1.75" />
            </g>
          );
        })}
        {latent.samples.map(([x, y], k) => (
          <circle key={k} cx={toX(x)} cy={toY(y)} r="3" fill={sampleColour} opacity="0.85" />
        ))}
        <circle class={isLive ? "handle live" : "handle"} cx={toX(at[0])} cy={toY(at[1])} r="8" />
      </svg>
      <p class="soft">
        Drag the point: the mask follows. Dots are samples{latent.raters.length ? ", ellipses raters" : ""}.
        {latent.dims > 2 && (isLive ? ` The other ${latent.dims - 2} latents are ${base === null ? "at their mean." : `those of sample ${base + 1}.`}` : "")}
      </p>
    </section>
  );
}

function Scales({ latent, choice, onChoice }: Props & { latent: Extract<Latent, { kind: "scales" }> }) {
  const levels: (number | null)[] =
    choice.kind === "scales" && choice.levels.length === latent.levels.length
      ? choice.levels
      : latent.levels.map(() => (choice.kind === "sample" ? Math.min(255, choice.sample) : null));
  const give = (level: number, value: number | null): void =>
    onChoice({ kind: "scales", levels: levels.map((old, k) => (k === level ? value : old)) });
  const another = (value: number | null): number => ((value ?? -1) + 1) % 256;
  return (
    <section class="explorer" aria-label="Explore">
      <h3>Explore scale by scale</h3>
      <ul class="scales">
        {latent.levels.map(({ name, pixels }, k) => (
          <li key={k}>
            <span class="scale-name" title={pixels.length ? `Each place is for ${pixels.join(" x ")} pixels` : ""}>
              {name.replaceAll(" x ", " × ")}
            </span>
            <button type="button" aria-pressed={levels[k] === null} onClick={() => give(k, levels[k] === null ? 0 : null)} title="At the prior's mean, given the coarser scales">
              mean
            </button>
            <button type="button" onClick={() => give(k, another(levels[k]))} title="Another draw for this scale; the others are held">
              redraw
            </button>
            <output>{levels[k] === null ? "mean" : `draw ${levels[k]! + 1}`}</output>
          </li>
        ))}
      </ul>
      <p class="soft">
        From coarse to fine. Redraw one and hold the others: coarse scales decide what is there and how large, fine ones its edges.
      </p>
    </section>
  );
}
