"""Methods side by side on volumes: in three dimensions and slice by slice, in pictures of one plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from volume_world import ball_source

from plurimask.compare.contenders import Contender, evaluate_contenders, train_contenders
from plurimask.compare.write import write_comparison
from plurimask.prediction.predict import Sampling
from plurimask.runs.plan import Plan

FAST: dict[str, Any] = {"max_steps": 2, "num_validations": 1, "validation_images": 2, "batch_size": 2}


class Silent:
    """Nobody watches."""

    def stage(self, text: str, total: int | None = None) -> None: ...

    def image(self) -> None: ...


@pytest.mark.slow
def test_volumes_are_compared_by_the_same_page(tmp_path: Path) -> None:
    source = ball_source(3, 2)
    small = {**FAST, "channels": (6, 8)}
    contenders = [
        Contender("whole", Plan("probabilistic-unet", "small", {**small, "crop": (4, 16, 16)})),
        Contender("slices", Plan("probabilistic-unet", "small", {**small, "slices": 0})),
    ]
    watcher = Silent()
    assert train_contenders(contenders, source, tmp_path, watcher)
    compared = evaluate_contenders(contenders, source, tmp_path, "val", Sampling(3), watcher)
    assert [result.maps[0].shape for result in compared.results] == [(22, 18)] * 2
    write_comparison(compared, source, tmp_path, watcher)
    page = (tmp_path / "index.html").read_text()
    assert "ball-1-0" in page and "slices" in page
