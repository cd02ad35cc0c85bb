"""The report on a data set, against numbers counted by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.distribution import IGNORE
from plurimask.evaluation.check import check_data


class Listed(ExampleSet):
    def __init__(self, examples: Sequence[Example], groups: Sequence[str] | None = None) -> None:
        self.examples = examples
        self.names = [example.name for example in examples]
        self.groups = groups or self.names

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def description(num_raters: int, **changes: object) -> DataDescription:
    values: dict[str, object] = {
        "layout": "folder",
        "class_names": ("background", "foreground"),
        "class_values": (0, 255),
        "ignore_value": None,
        "has_background": True,
        "encoding": "Binary: because.",
        "channel_names": ("x", "y"),
        "rater_names": tuple(f"rater {index}" for index in range(num_raters)),
    }
    return DataDescription.model_validate(values | changes)


def example(name: str, labels: Tensor) -> Example:
    image = torch.arange(2 * labels[0].numel(), dtype=torch.float32).view(2, *labels.shape[1:])
    return Example(name, image, labels.to(torch.uint8))


def source(**splits: ExampleSet) -> DataSource:
    num_raters = next(iter(splits.values()))[0].labels.shape[0]
    return DataSource(description(num_raters), splits, drawn=True)


def labels_of(*maps: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor(maps)


FIRST = labels_of([[0, 1, 1], [0, 0, 0]], [[0, 1, 0], [0, 0, IGNORE]], [[0, 0, 0], [0, 0, 0]])
SECOND = labels_of([[1, 1, 1]], [[IGNORE] * 3], [[0, 0, 0]])


def test_counts() -> None:
    report = check_data(source(train=Listed([example("a", FIRST), example("b", SECOND)], ["p", "p"])))
    split = report.splits["train"]
    assert split.num_images == 2 and split.num_groups == 1 and split.sizes == {"1x3": 1, "2x3": 1}
    assert split.value_range == ((0, 5), (3, 11)) and split.num_constant == 0
    assert split.num_raters == {2: 1, 3: 1}
    assert split.marked_share == (1.0, 1.0, 0.0) and split.absent_share == (0.0, 0.5, 0.0)
    judged, given = 6 + 5 + 6 + 3 + 3, 24
    assert split.class_shares == pytest.approx(((judged - 6) / judged, 6 / judged))
    assert split.ignored_share == pytest.approx(1 / given)
    first, second = (0.5 + 1 + 1) / 3, 1.0
    assert split.rater_distance == pytest.approx((first + second) / 2)
    assert split.oracle_ged == pytest.approx((first * (1 / 16 + 1 / 3) + second * (1 / 16 + 1 / 2)) / 2)
    text = "\n".join(report.lines())
    for words in ("Binary: because.", "2 images, 1 groups", "1..2 x 3 (", "0.9167", "absent 50%", "warning: "):
        assert words in text, text
    assert any("rater 2 never marks" in warning for warning in report.warnings)
    assert any("2 sizes" in warning for warning in report.warnings)


def test_an_absent_rater_is_not_one_who_never_marks() -> None:
    maps = labels_of([[0, 1, 1]], [[IGNORE] * 3], [[0, 0, 0]])
    often = [example(str(index), maps) for index in range(300)]
    often.append(example("last", labels_of([[0, 1, 1]], [[0, 1, 0]], [[0, 0, 0]])))
    report = check_data(source(val=Listed(often[:-1]), train=Listed(often)))
    assert [warning for warning in report.warnings if "mark" in warning] == [
        "val: rater 2 never marks anything",
        "train: rater 2 never marks anything",
    ]
    lines = [line for line in report.lines() if "non-empty" in line]
    assert lines[0].endswith("rater 0 100%, rater 1 absent, rater 2 0%")
    assert "rater 1 100% of the maps given (absent >99%)" in lines[1]


def test_a_comment_says_which_methods_can_help() -> None:
    square = torch.zeros(1, 20, 30, dtype=torch.long)
    square[:, 4:16, 5:25] = 1
    wider, other = square.clone(), square.clone()
    wider[:, 4:16, 25] = 1
    other[:, 8:12, 8:12] = 0
    border, hole = torch.cat([square, wider]), torch.cat([square, other])
    alone = torch.cat([square, torch.full_like(square, IGNORE)])
    assert "one rater" in check_data(source(val=Listed([example("a", square)]))).comments[0]
    assert "border" in check_data(source(val=Listed([example("a", border)]))).comments[0]
    assert not check_data(source(val=Listed([example("a", border), example("b", hole)]))).comments
    report = check_data(source(val=Listed([example("a", alone)])))
    assert "no image has two raters" in report.comments[0] and any("comment: " in line for line in report.lines())


def test_notes_of_the_data_are_passed_on() -> None:
    noted = replace(source(val=Listed([example("a", FIRST)])), notes=("3 files were not read",))
    assert "note: 3 files were not read" in check_data(noted).lines()


def test_one_rater_has_no_agreement() -> None:
    report = check_data(source(val=Listed([example("a", FIRST[:1])])))
    assert report.splits["val"].rater_distance is None and report.splits["val"].oracle_ged is None
    assert not report.warnings and "agreement" not in "\n".join(report.lines())


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": Listed([example("a", FIRST * 0)])}, "no mask marks anything"),
        ({"train": Listed([Example("a", torch.ones(2, 2, 3), FIRST.to(torch.uint8))])}, "same value everywhere"),
        ({"train": Listed([example("a", torch.full((3, 2, 3), IGNORE))])}, "no judged pixel"),
        ({name: Listed([example("a", FIRST)]) for name in ("train", "val")}, "1 names are in train and in val (a)"),
        (
            {"train": Listed([example("a", FIRST)], ["p"]), "val": Listed([example("b", FIRST)], ["p"])},
            "1 groups are in train and in val (p)",
        ),
    ],
)
def test_warnings(splits: Mapping[str, ExampleSet], words: str) -> None:
    assert any(words in warning for warning in check_data(source(**splits)).warnings)


def test_unused_class() -> None:
    about = description(1, class_names=("a", "b", "c"), class_values=(0, 1, 2), has_background=False)
    report = check_data(DataSource(about, {"train": Listed([example("a", FIRST[:1])])}, drawn=False))
    assert report.warnings == ("train: no pixel of c",)
