"""Whole material, made once: a data set in several layouts, and runs that were trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from attack import run
from data_trees import gray, mask, save

HEIGHT, WIDTH = 12, 17
TINY = ["--preset", "small", "--max-steps", "2", "--channels", "4", "4", "--batch-size", "2"]
FEW = ["--num-validations", "1", "--validation-samples", "2", "--warmup-steps", "0"]


@dataclass(frozen=True)
class Stock:
    """Folders that are copied before they are broken."""

    data: Path
    npz: Path
    yeast: Path
    nnunet: Path
    runs: tuple[Path, ...]
    ensemble: Path
    comparison: Path


def make_stock(folder: Path) -> Stock:
    data = plain(folder / "data")
    runs = []
    for number, method in enumerate(("unet", "probabilistic-unet", "m-heads")):
        runs.append(folder / f"run{number}")
        _make("train", data, "--method", method, "--out", runs[-1], *TINY, *FEW)
    ensemble, comparison = folder / "ensemble", folder / "comparison"
    _make("train", data, "--method", "ensemble", "--members", "unet", "unet", "--out", ensemble, *TINY[:4], *FEW)
    _make("compare", data, "--runs", runs[0], runs[2], "--samples", "2", "--out", comparison)
    return Stock(
        data,
        arrays(folder / "npz"),
        yeast(folder / "yeast"),
        nnunet(folder / "nnunet"),
        tuple(runs),
        ensemble,
        comparison,
    )


def _make(*words: Path | str) -> None:
    code, printed = run([str(word) for word in words])
    assert code == 0, printed


def plain(folder: Path, ending: str = "png", splits: tuple[str, ...] = ("train/", "val/")) -> Path:
    for split in splits:
        for number in range(3):
            save(folder / f"{split}images" / f"i{number}.{ending}", gray(number, HEIGHT, WIDTH))
            for rater in ("anna", "ben"):
                save(folder / f"{split}masks" / rater / f"i{number}.png", mask(0, 1, 1, height=HEIGHT, width=WIDTH))
    return folder


def arrays(folder: Path) -> Path:
    folder.mkdir()
    for split in ("train", "val"):
        images = np.stack([gray(number, HEIGHT, WIDTH) for number in range(3)])
        masks = np.stack([np.stack([mask(0, 1, 1, height=HEIGHT, width=WIDTH)] * 2)] * 3)
        np.savez(folder / f"{split}.npz", images=images, masks=masks, names=np.array(["a", "b", "c"]))
    return folder


def yeast(folder: Path) -> Path:
    for split in ("train", "val"):
        for part in ("inputs", "instances", "classes"):
            (folder / split / part).mkdir(parents=True)
        for number in range(2):
            instances = torch.zeros(2, HEIGHT, WIDTH)
            instances[0, 2:5, 3:9] = instances[1, 7:11, 4:13] = 1
            values = {"inputs": torch.randn(HEIGHT, WIDTH), "instances": instances, "classes": torch.tensor([1.0, 2.0])}
            for part, value in values.items():
                torch.save(value, folder / split / part / f"{number}.pt")
    return folder


def nnunet(folder: Path) -> Path:
    for number in range(3):
        save(folder / "imagesTr" / f"case{number}_0000.png", gray(number, HEIGHT, WIDTH))
        save(folder / "labelsTr" / f"case{number}.png", mask(0, 1, 1, height=HEIGHT, width=WIDTH))
    (folder / "dataset.json").write_text('{"channel_names": {"0": "x"}, "labels": {"background": 0, "cell": 1}}')
    return folder
