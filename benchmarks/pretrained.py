"""Make a model that the package ships from a trained run: its weights and record, its card, examples beside it.

    python benchmarks/pretrained.py RUN                  all of it, evaluated on the 565 images of lidc/val.npz
    python benchmarks/pretrained.py RUN --images 40      evaluated on some of them alone, to try it out
    python benchmarks/pretrained.py --card               the card anew, from the record of the evaluation

It writes `src/plurimask/pretrained/NAME/` and `benchmarks/results/pretrained.json`. Weights are those that the run is
used with; checkpoints, the plan and where the run lay stay behind. The card has its numbers from the record alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import data_folder, record, write

import plurimask.pretrained
from plurimask import load_run, open_data
from plurimask.evaluation.evaluate import ExampleView, evaluate
from plurimask.files.writing import replace_file
from plurimask.metrics.representatives import TABLE_WITH_REPRESENTATIVES
from plurimask.prediction.predict import Sampling
from plurimask.runs.folder import RECORD_FILE, WEIGHTS_FILE
from plurimask.runs.record import RunRecord, read_record

NAME = "lidc-nodule-64"
ROOT = Path(__file__).parents[1]
SHIPPED = Path(plurimask.pretrained.__file__).parent
RESULTS = ROOT / "benchmarks" / "results" / "pretrained.json"
MAX_BYTES = 4 * 10**6
TEMPLATE, ATTRIBUTION = (Path(__file__).with_name(f"pretrained_{name}.md") for name in ("card", "attribution"))
SIDE, NUM_SAMPLES, SEED = 64, 16, 0
EXAMPLES = ((1, 0), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1))
"""How many of the four readers marked something, and which image of those, evenly chosen among patients."""
SHOWN = (
    "ged",
    "ged_oracle",
    "ged_ratio",
    "ged_unbiased",
    "ged_spread",
    "ged_representatives",
    "ged_representatives_4",
    "hungarian_iou_balanced",
    "diversity",
    "rater_diversity",
    "empty_samples",
    "empty_raters",
    "sample_dice",
    "rater_dice",
    "dice",
    "ece",
    "nll",
)


def shipped_record(run: RunRecord) -> RunRecord:
    """The record without what belongs to the machine and the folder that it was trained in."""
    encoding = "Binary: 0 is background, every other value a nodule."
    data = run.data.model_copy(update={"class_values": (0, 255), "encoding": encoding})
    start = None if run.start is None else run.start.model_copy(update={"folder": "not shipped"})
    return run.model_copy(update={"data": data, "plan": None, "start": start})


def refuse_paths(text: str) -> None:
    """End the program if a record tells of a machine."""
    told = [word for word in json.dumps(json.loads(text)).split('"') if word.startswith(("/", "~")) or ":\\" in word]
    if told:
        sys.exit(f"the record holds {told[0]}, which belongs to one machine")


def copy_run(run: Path, out: Path) -> None:
    weights = (run / WEIGHTS_FILE).read_bytes()
    if len(weights) >= MAX_BYTES:
        sys.exit(
            f"{len(weights):,} bytes of weights, and fewer than {MAX_BYTES:,} are shipped: train a smaller network"
        )
    told = read_record(run)
    if told.steps is None or told.undertrained:
        sys.exit(f"{run}: its training has not ended, or was too short: ship none of such")
    text = shipped_record(told).model_dump_json(indent=2)
    refuse_paths(text)
    replace_file(out / RECORD_FILE, f"{text}\n".encode())
    replace_file(out / WEIGHTS_FILE, weights)


def write_examples(out: Path, path: Path) -> None:
    """Centre crops of a few validation images, with the masks of their four readers."""
    data = np.load(path, allow_pickle=False)
    shutil.rmtree(out, ignore_errors=True)
    low = (data["images"].shape[1] - SIDE) // 2
    crop = (slice(low, low + SIDE), slice(low, low + SIDE))
    marked = (data["masks"][(slice(None), slice(None), *crop)] > 0).any((2, 3)).sum(1)
    for readers, place in EXAMPLES:
        found = np.flatnonzero(marked == readers)
        _, firsts = np.unique(data["patient"][found], return_index=True)
        index = int(found[firsts[(1 + place) * len(firsts) // 3]])
        name = f"{data['patient'][index]}-nodule-{data['nodule'][index]}-slice-{data['slice'][index]}.png"
        masks = {f"masks/reader-{number + 1}": 255 * one for number, one in enumerate(data["masks"][index])}
        for folder, image in {"images": data["images"][index], **masks}.items():
            target = out / "val" / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[crop]).save(target)
    (out / "ATTRIBUTION.md").write_text(f"# Attribution\n\n{ATTRIBUTION.read_text()}")


def evaluation(folder: Path, path: Path, num_images: int | None) -> dict[str, Any]:
    """Figures of independent draws (and of others, apart) on validation images, and what the data are."""
    run = load_run(folder)
    examples = open_data(path.parent).splits["val"]
    indices: Sequence[int] = range(len(examples))
    if num_images is not None:
        indices = np.linspace(0, len(examples) - 1, num_images).astype(int).tolist()
    view = ExampleView(examples, indices, run.record.preprocessing, run.record.data.counted_classes)
    torch.manual_seed(SEED)
    totals = evaluate(run.method, view, Sampling(NUM_SAMPLES, SEED), table=TABLE_WITH_REPRESENTATIVES).totals
    patients = {split: np.load(path.parent / f"{split}.npz")["patient"] for split in ("train", "val")}
    config = {
        "model": folder.name,
        "method": run.record.method,
        "settings": run.record.config,
        "parameters": sum(one.numel() for one in run.method.parameters()),
        "bytes": (folder / WEIGHTS_FILE).stat().st_size,
        "steps": run.record.steps,
        "images_a_step": run.record.training.batch_size,
        "center_crop": run.record.preprocessing.center_crop,
        "validation_images_to_choose_by": run.record.training.validation_images,
        "samples": NUM_SAMPLES,
        "seed": SEED,
        "images": len(indices),
        "data": "LIDC-IDRI, slices of 128x128 pixels around a nodule, their centres",
        "slices": {split: len(own) for split, own in patients.items()},
        "patients": {split: len({*own.tolist()}) for split, own in patients.items()},
    }
    keys = ("num_images", *SHOWN)
    of_marked: Any = totals["subset_b"]
    results: dict[str, Any] = {key: totals[key] for key in keys}
    return record("pretrained", config, {**results, "subset_b": {key: of_marked[key] for key in keys}})


def card(content: dict[str, Any]) -> str:
    """The model card of a record of `evaluation`."""
    config, results = content["config"], content["results"]
    digits = {row.key: row.digits for row in TABLE_WITH_REPRESENTATIVES}
    titles = {row.key: row.title for row in TABLE_WITH_REPRESENTATIVES}

    def shown(value: float | None, key: str) -> str:
        return "-" if value is None else f"{value:.{min(3, digits[key])}f}" if key != "ece" else f"{value:.4f}"

    rows = [
        f"| {titles[key]} (`{key}`) | {shown(results[key], key)} | {shown(results['subset_b'][key], key)} |"
        for key in SHOWN
        if results[key] is not None
    ]
    return TEMPLATE.read_text().format(
        **{key: config[key] for key in ("model", "method", "parameters", "steps", "images_a_step", "center_crop")},
        **{key: config[key] for key in ("samples", "images")},
        megabytes=config["bytes"] / 1e6,
        train_slices=config["slices"]["train"],
        val_slices=config["slices"]["val"],
        train_patients=config["patients"]["train"],
        val_patients=config["patients"]["val"],
        chosen_by=config["validation_images_to_choose_by"],
        attribution=ATTRIBUTION.read_text(),
        marked=results["subset_b"]["num_images"],
        rows="\n".join(rows),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--images", type=int)
    parser.add_argument("--card", action="store_true")
    options = parser.parse_args()
    out, path = SHIPPED / options.name, data_folder() / "lidc" / "val.npz"
    if not options.card:
        if options.run is None:
            parser.error("RUN is missing")
        copy_run(options.run, out)
        write_examples(out / plurimask.pretrained.EXAMPLES, path)
        write(RESULTS, evaluation(out, path, options.images))
    (out / "README.md").write_text(card(json.loads(RESULTS.read_text())))
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
