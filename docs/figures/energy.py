"""Makes the pictures of docs/methods/energy-score-unet.md in docs/images, and prints the numbers of the first.

    python docs/figures/energy.py [--run RUN --data DATA] [--out FOLDER]

energy-score.png: raters draw one of two masks that share no pixel, A with probability 0.3 and B with 0.7. What a
sampler is charged is computed exactly, without the shared pixel of `nn/energy_score.py`; seconds.
energy-score-price.png: what samples cost, and what they are worth, by the record of `benchmarks/energy_score.py`.
energy-score-samples.png: with a run, samples for four validation images of which two raters marked nothing.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plurimask import load_run, open_data
from plurimask.figures.colours import FAINT, INK
from plurimask.figures.rows import GridRow
from plurimask.figures.samples import samples_grid
from plurimask.figures.style import canvas, save_figure, style
from plurimask.prediction.predict import Sampling, predict_images

CHANCE = 0.3
KINDS = {"min-max": "#0072B2", "product": "#D55E00"}
Array = NDArray[np.float64]


def distance(p: Array, q: Array, kind: str) -> float:
    """Of soft masks with one entry for each region, all regions of one area."""
    if kind == "min-max":
        return float(1 - np.minimum(p, q).sum() / np.maximum(p, q).sum())
    both = (p * q).sum()
    return float(1 - both / (p.sum() + q.sum() - both))


def score(samples: list[Array], shares: Array, kind: str) -> float:
    """Expected energy score of a sampler that draws each of `samples` with its share."""
    raters, law = [np.array([1.0, 0.0]), np.array([0.0, 1.0])], np.array([CHANCE, 1 - CHANCE])
    crossed = np.array([[distance(one, rater, kind) for rater in raters] for one in samples])
    within = np.array([[distance(one, other, kind) for other in samples] for one in samples])
    return float(2 * shares @ crossed @ law - shares @ within @ shares)


def samples_picture(run_folder: Path, data: Path) -> Figure:
    """Four validation images of which two of four raters marked nothing."""
    run, source = load_run(run_folder), open_data(data)
    view, rows = run.record.preprocessing, []
    for example in map(source.splits["val"].__getitem__, range(0, len(source.splits["val"]), 7)):
        seen = view.view(example)
        if int((seen.labels > 0).flatten(1).any(1).sum()) != 2:
            continue
        predicted = next(predict_images(run.method, [(example.name, view.image(example.image))], Sampling(100, 0)))
        rows.append(
            GridRow(
                example.name,
                seen.image.numpy(),
                seen.labels.numpy(),
                predicted.samples[:, 0].cpu().numpy(),
                predicted.statistics.mean()[0].cpu().numpy(),
                predicted.statistics.entropy()[0].cpu().numpy(),
                f"empty: {float((predicted.samples == 0).flatten(2).all(2).float().mean()):.0%} of 100 samples",
            )
        )
        if len(rows) == 4:
            break
    return samples_grid(rows, source.description.class_names)


def price_picture(record: Path) -> Figure:
    """GED of 16 samples over what they cost, of what was both timed and trained."""
    found = json.loads(record.read_text())
    price = {name: one["ratio"] for name, one in found["price"]["results"]["methods"].items()}
    known = {"as it is": "energy-score-unet", "Probabilistic U-Net": "probabilistic-unet"}
    figure = canvas(5.2, 3.2)
    axes = figure.subplots()
    trained = {
        "crops of 64, 1,500 steps": (found["parts"]["results"]["methods"], {name: name for name in price}),
        "crops of 64, 4,000 steps": (
            found["data_sets"]["results"]["lidc"]["methods"],
            {name: known.get(name, name) for name in price},
        ),
    }
    for (label, (methods, names)), colour in zip(trained.items(), (KINDS["product"], KINDS["min-max"]), strict=True):
        points = sorted((price[name], methods[key]["ged"], name) for name, key in names.items() if key in methods)
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], "o", color=colour, label=label)
        if label.endswith("1,500 steps"):
            for x, y, name in points:  # below its point where another is close above it
                is_below = any(abs(x - other) < 0.3 and y < above < y + 0.02 for other, above, _ in points)
                place = (0, -22 if is_below else 7)
                shown = textwrap.fill("z in two scales (preset)" if name == "as it is" else name, 15)
                axes.annotate(shown, (x, y), place, textcoords="offset points", fontsize=7, color=INK, ha="center")
    style(axes, "what 16 masks cost, and what they are worth", "forwards of a U-Net", "GED of 16 samples")
    axes.margins(x=0.2, y=0.15)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "images", help="folder")
    parser.add_argument("--run", type=Path, help="a run of LIDC-IDRI")
    parser.add_argument("--data", type=Path, help="its data")
    options = parser.parse_args()
    if options.run is not None and options.data is not None:
        save_figure(samples_picture(options.run, options.data), options.out / "energy-score-samples.png")
    record = Path(__file__).parents[2] / "benchmarks" / "results" / "energy_score.json"
    save_figure(price_picture(record), options.out / "energy-score-price.png")
    steps = np.linspace(0.01, 1, 100)
    law = np.array([CHANCE, 1 - CHANCE])
    figure = canvas(9.4, 2.9)
    own, frequency, doubt = figure.subplots(1, 3)
    for kind, colour in KINDS.items():
        equal = [distance(np.full(2, t), np.full(2, t), kind) for t in steps]
        own.plot(steps, equal, color=colour, label=kind)
        hard = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
        of_share = [score(hard, np.array([t, 1 - t]), kind) for t in steps]
        frequency.plot(steps, of_share, color=colour, linestyle="-" if kind == "min-max" else "--")
        of_doubt = [score([np.array([t, 1 - t]), np.array([1 - t, t])], law, kind) for t in steps[49:]]
        doubt.plot(steps[49:], of_doubt, color=colour)
        best = float(steps[49:][int(np.argmin(of_doubt))])
        doubt.plot(best, min(of_doubt), "o", color=colour)
        least = float(steps[int(np.argmin(of_share))])
        print(f"{kind}: d(p, p) at 1/2 {equal[49]:.3f}; least score at frequency {least:.2f}; ", end="")
        print(f"at sharpness {best:.2f}: {min(of_doubt):.3f}, sharp {of_doubt[-1]:.3f}")
    style(own, "distance of a mask from itself", "probability of all its pixels", "d(p, p)")
    style(frequency, "score by how often A is drawn", "frequency of A; the raters' is 0.3", "expected score")
    style(doubt, "score by how sharp samples are", "probability of the drawn mask's pixels", "expected score")
    frequency.axvline(CHANCE, color=FAINT, linewidth=0.8, linestyle=":")
    own.legend(frameon=False, fontsize=8, labelcolor=INK)
    save_figure(figure, options.out / "energy-score.png")


if __name__ == "__main__":
    main()
