"""What the values of masks mean is decided once, over all masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from plurimask.data.encoding import MaskEncoding, decide_encoding
from plurimask.data.forms import values_in
from plurimask.data.layouts.dataset_json import DatasetFile
from plurimask.data.layouts.files import describe
from plurimask.distribution import IGNORE
from plurimask.errors import InputError


def decide(*masks: Sequence[int], declared: DatasetFile = DatasetFile()) -> MaskEncoding:  # noqa: B008
    return decide_encoding({frozenset(each): f"mask-{index}.png" for index, each in enumerate(masks)}, declared)


def encode(encoding: MaskEncoding, *values: int) -> list[int]:
    wide = encoding.encode(np.array(values, dtype=np.uint16), "m.png")
    if max(values) < 256:
        assert (encoding.encode(np.array(values, dtype=np.uint8), "m.png") == wide).all()
    return wide.tolist()


@pytest.mark.parametrize(
    ("masks", "class_values"),
    [
        ([(0,), (0, 1)], (0, 1)),
        ([(0,), (0, 255)], (0, 255)),
        ([(0, 65535)], (0, 65535)),
        ([(0, 7), (7,)], (0, 7)),
        ([(0,)], (0, 1)),
        ([(1,)], (0, 1)),
        ([(0, 1), (0, 255), (0,)], (0, 255)),
        ([(0, 1), (0, 255), (255,)], (0, 255)),
    ],
)
def test_binary(masks: list[tuple[int, ...]], class_values: tuple[int, int]) -> None:
    encoding = decide(*masks)
    assert encoding.class_names == ("background", "foreground") and encoding.class_values == class_values
    assert encoding.has_background and encoding.ignore_value is None
    assert encoding.sentence.startswith("Binary: ") and encoding.sentence.endswith(".")
    assert encode(encoding, 0, class_values[1], 1) == [0, 1, 1]


def test_whole_maps_of_255_among_0_and_1_are_absent_raters() -> None:
    encoding = decide((0, 1), (255,), (0,))
    assert encoding.class_values == (0, 1) and encoding.ignore_value == 255 and encoding.has_background
    assert encode(encoding, 0, 1, 255) == [0, 1, IGNORE]


def test_0_and_1_and_255_in_one_mask_are_binary_with_ignore() -> None:
    encoding = decide((0, 255), (0, 1, 255))
    assert encoding.class_values == (0, 1) and encoding.ignore_value == 255
    assert encoding.has_background and "not judged" in encoding.sentence
    assert encode(encoding, 1, 255, 0) == [1, IGNORE, 0]


def test_class_indices() -> None:
    encoding = decide((0, 1), (1, 4))
    assert encoding.class_values == (0, 1, 2, 3, 4) and encoding.ignore_value is None and not encoding.has_background
    assert "dataset.json" in encoding.sentence
    assert encode(encoding, 4, 2) == [4, 2]


def test_too_many_classes_ask_for_names() -> None:
    assert len(decide((0, 63, 2)).class_names) == 64
    with pytest.raises(InputError, match=r"mask-1\.png.* 128 .*dataset\.json"):
        decide((0, 255), (0, 128, 255))


def test_declared_labels_are_mapped_to_indices() -> None:
    declared = DatasetFile(labels={"background": 0, "cell": 40, "edge": 300}, ignore_value=7)
    encoding = decide((0, 300), (40, 7), declared=declared)
    assert encoding.class_names == ("background", "cell", "edge") and encoding.has_background
    assert encode(encoding, 300, 7, 40, 0) == [2, IGNORE, 1, 0]
    with pytest.raises(InputError, match=r"m\.png.* 41, known are 0 \(background\), 40 \(cell\).*7 \(ignore\)"):
        encode(encoding, 0, 41)
    with pytest.raises(InputError, match=r"m\.png.* 70000, known"):
        encoding.encode(np.array([0, 70000]), "m.png")
    with pytest.raises(InputError, match=r"mask-1\.png.* 65535, known"):
        decide((0,), (0, 65535), declared=declared)


def test_background_only_by_its_name() -> None:
    assert not decide((0, 1), declared=DatasetFile(labels={"Sky": 0, "Road": 1})).has_background
    assert decide((0, 1), declared=DatasetFile(labels={"Background": 0, "Road": 1})).has_background
    assert not decide((0, 1), declared=DatasetFile(labels={"road": 0, "background": 1})).has_background


def test_further_data_are_read_as_the_run_was_trained() -> None:
    def expected(encoding: MaskEncoding, *masks: Sequence[int], labels: dict[str, int] | None = None) -> MaskEncoding:
        values = {frozenset(each): "m.png" for each in masks}
        trained = describe("folder", encoding, ("intensity",), ("rater 1",))
        return decide_encoding(values, DatasetFile(labels=labels), trained)

    classes = decide((0, 1, 2, 3))
    assert expected(classes, (0, 1)).class_names == classes.class_names
    assert encode(expected(classes, (0, 1), (255,)), 3, 255) == [3, IGNORE]
    with pytest.raises(InputError, match=r"m\.png.* 4, known"):
        expected(classes, (0, 4))
    binary = decide((0, 255))
    assert expected(binary, (0, 1)).class_values == (0, 1)
    assert expected(binary, (0, 1, 255)).has_background
    with pytest.raises(InputError, match="3 classes"):
        expected(binary, (0, 1, 2))
    with pytest.raises(InputError, match="dog"):
        expected(binary, (0, 1), labels={"cat": 0, "dog": 1})


def test_values_in() -> None:
    assert values_in(np.array([[0, 7, 255], [7, 7, 0]], dtype=np.uint8)) == {0, 7, 255}
    assert values_in(np.array([[3, 40000]], dtype=np.uint16)) == {3, 40000}
