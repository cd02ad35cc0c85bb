"""Real data sets, where they are at hand: `PLURIMASK_DATA`, else `../shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from plurimask.data import DataSource, open_data, open_images
from plurimask.evaluation.check import DataReport, check_data

DATA = Path(os.environ.get("PLURIMASK_DATA") or Path(__file__).parents[3] / "shared" / "data")


def opened(name: str, group: str | None = None) -> DataSource:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in {DATA}: set PLURIMASK_DATA to the folder of the real data sets")
    return open_data(DATA / name, group=group)


def report_on(source: DataSource, split: str) -> DataReport:
    part = DataSource(source.description, {split: source.splits[split]}, source.drawn)
    return check_data(part)


def test_lidc() -> None:
    source = opened("lidc")
    assert {split: len(examples) for split, examples in source.splits.items()} == {"train": 3120, "val": 565}
    assert [len(set(examples.groups)) for examples in source.splits.values()] == [525, 175]
    assert not set(source.splits["train"].groups) & set(source.splits["val"].groups)
    about = source.description
    assert len(about.rater_names) == 4 and about.class_values == (0, 1) and about.has_background
    split = report_on(source, "val").splits["val"]
    assert split.absent_share == (0, 0, 0, 0)
    assert np.allclose(split.marked_share, [0.98, 0.71, 0.51, 0.33], atol=0.01)
    # From the 565 x 4 masks by one matrix product, apart from the library.
    with np.load(DATA / "lidc" / "val.npz") as content:
        masks = content["masks"].reshape(565, 4, -1).astype(np.float32)
    both, area = masks @ masks.transpose(0, 2, 1), masks.sum(2)
    either = area[:, :, None] + area[:, None] - both
    mu = float(np.where(either == 0, 0, 1 - both / np.maximum(either, 1)).sum((1, 2)).mean() / 12)
    assert split.rater_distance == pytest.approx(mu, abs=1e-5) and mu == pytest.approx(0.5046, abs=1e-4)
    assert split.oracle_ged == pytest.approx(mu * (1 / 16 + 1 / 4), abs=1e-5)


def test_lidc_folder() -> None:
    source = opened("lidc_folder", group="^(LIDC-IDRI-[0-9]+)")
    assert {split: len(examples) for split, examples in source.splits.items()} == {"train": 240, "val": 80}
    about = source.description
    assert about.rater_names == ("reader1", "reader2", "reader3", "reader4") and about.class_values == (0, 255)
    example = source.splits["val"][5]
    assert example.image.shape == (1, 128, 128) and example.labels.shape == (4, 128, 128) and example.labels.max() == 1


def test_bubil() -> None:
    source = opened("bubil")
    assert {split: len(examples) for split, examples in source.splits.items()} == {"train": 71, "val": 23}
    assert len(source.description.rater_names) == 10 and source.description.has_background
    report = report_on(source, "val")
    assert report.splits["val"].num_raters == {10: 23} and not report.warnings
    assert 0.1 < (report.splits["val"].rater_distance or 0) < 0.4


def test_bbbc010() -> None:
    source = opened("bbbc010")
    assert {split: len(examples) for split, examples in source.splits.items()} == {"train": 59, "val": 19}
    about = source.description
    assert about.channel_names == ("brightfield", "gfp") and about.class_names == ("background", "worm")
    example = source.splits["val"][0]
    assert example.image.shape == (2, 520, 696)
    assert example.image[0].mean() > example.image[1].mean()  # brightfield is bright, fluorescence is dark


def test_camvid() -> None:
    source = opened("camvid")
    assert {split: len(examples) for split, examples in source.splits.items()} == {"train": 367, "val": 101}
    about = source.description
    assert about.num_classes == 11 and about.class_names[3] == "Road" and about.ignore_value == 11
    assert not about.has_background and about.counted_classes == tuple(range(11))
    assert about.channel_names == ("R", "G", "B")
    split = report_on(source, "val").splits["val"]
    assert split.class_shares[3] == pytest.approx(0.296, abs=1e-3) and split.ignored_share == pytest.approx(
        0.0171, abs=1e-3
    )


def test_yeast() -> None:
    source = opened("yeast")
    about = source.description
    assert about.layout == "trapped yeast" and about.class_names == ("background", "trap", "cell")
    assert about.encoding.endswith("left out: test 4 of 5.")
    assert {split: examples.names for split, examples in source.splits.items()} == {"test": ("35",)}
    example = source.splits["test"][0]
    assert example.image.shape == (1, 576, 576) and example.labels.shape == (1, 576, 576)
    assert abs(float(example.image.mean())) < 1e-5 and abs(float(example.image.std()) - 1) < 1e-5
    # Two traps that do not overlap, of 30950 and 31096 pixels, and no cell.
    assert example.labels.flatten().bincount().tolist() == [576 * 576 - 62046, 62046]
    split = report_on(source, "test").splits["test"]
    assert split.class_shares == pytest.approx((0.8130, 0.1870, 0), abs=1e-4)
    images = open_images(DATA / "yeast" / "test", about.channel_names)
    assert images.names == ("1", "2", "12", "35", "37") and images[3].equal(example.image)
