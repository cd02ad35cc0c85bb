"""Runs that were trained for two steps, and the server that shows them, asked without a network and with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attack import run
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from plurimask.data import Place
from plurimask.prediction.predict import Sampling
from plurimask.runs.load import Run, load_run
from plurimask.viewer.desk import Desk
from plurimask.viewer.gallery import Gallery
from plurimask.viewer.uploads import Uploads

NUM_SAMPLES, SEED = 5, 3
TINY = ["--preset", "small", "--max-steps", "2", "--batch-size", "2", "--num-validations", "1", "--warmup-steps", "0"]
CHANNELS = {"probabilistic-unet": ["4", "6"], "hierarchical-probabilistic-unet": ["4", "6", "8"], "m-heads": ["4", "6"]}


@pytest.fixture(scope="session")
def runs(lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of a method, trained when it is asked for."""
    made: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in made:
            folder = tmp_path_factory.mktemp("runs") / f"{method} run"
            words = ["train", str(lesion_folder), "--method", method, "--out", str(folder)]
            latents = ["--latent-dims", "2", "1"] if method.startswith("hier") else []
            code, printed = run([*words, *TINY, "--channels", *CHANNELS[method], *latents])
            assert code == 0, printed
            _strengthen(folder / "weights.safetensors")
            made[method] = folder
        return made[method]

    return of


def _strengthen(weights: Path) -> None:
    """Weights so large that draws differ in their labels, which after two steps they do not."""
    random = torch.Generator().manual_seed(1)
    stored = load_file(weights)
    with safe_open(weights, "pt") as opened:
        about = opened.metadata()
    for name, one in stored.items():
        if one.is_floating_point() and one.ndim > 1:
            stored[name] = one + 0.3 * torch.randn(one.shape, generator=random)
    save_file(stored, weights, about)


@pytest.fixture(scope="session")
def latent_run(runs: Callable[[str], Path]) -> Run:
    return load_run(runs("probabilistic-unet"))


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """A desk of runs and data; masks are saved in `tmp_path / "out"`."""
    made: list[Desk] = []

    def make(*shown: Run, data: Path | None = None, split: str | None = None, **place: Any) -> Desk:
        gallery = Gallery(shown[0].record, Uploads())
        if data is not None:
            gallery.open(Place(data, **place), split)
        made.append(Desk(shown, gallery, Sampling(NUM_SAMPLES, SEED), tmp_path / "out"))
        return made[-1]

    yield make
    for desk in made:
        desk.gallery.uploads.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk], latent_run: Run, lesion_folder: Path) -> Desk:
    return make_desk(latent_run, data=lesion_folder)
