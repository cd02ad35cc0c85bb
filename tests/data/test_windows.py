"""Windows around what raters marked, and examples that are kept in memory."""

from __future__ import annotations

import torch

from plurimask.data.example import Example, ExampleSet
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.remembered import Remembered
from plurimask.data.windows import ObjectWindows, crop_on_object
from plurimask.distribution import IGNORE

HEIGHT, WIDTH = 70, 90


def example(marks: dict[tuple[int, int, int], int], num_raters: int = 3) -> Example:
    """An image whose values tell the place; `marks` are classes by rater, row and column."""
    labels = torch.zeros(num_raters, HEIGHT, WIDTH, dtype=torch.uint8)
    for place, value in marks.items():
        labels[place] = value
    return Example("a", torch.arange(HEIGHT * WIDTH).view(1, HEIGHT, WIDTH).float(), labels)


class Listed(ExampleSet):
    def __init__(self, examples: list[Example]) -> None:
        self.examples, self.num_read = examples, 0
        self.names = self.groups = [str(number) for number in range(len(examples))]

    def __getitem__(self, index: int) -> Example:
        self.num_read += 1
        return self.examples[index]


def test_a_window_has_a_marked_pixel_in_its_middle_half_and_image_and_labels_agree() -> None:
    one = example({(1, 40, 50): 1})
    places = set()
    for seed in range(60):
        window = crop_on_object(one, 24, [1], torch.Generator().manual_seed(seed))
        assert window.image.shape == (1, 24, 24)
        assert window.labels.shape == (3, 24, 24)
        ((row, column),) = window.labels[1].nonzero().tolist()
        assert 6 <= row < 18
        assert 6 <= column < 18
        assert float(window.image[0, row, column]) == 40 * WIDTH + 50
        places.add((row, column))
    assert len(places) > 30


def test_raters_who_mark_little_and_rare_classes_are_seen_as_often() -> None:
    one = example({(0, 10, 12): 2, (1, 30, 80): 2})
    one.labels[1, 55:65, 5:85] = 1
    one.labels[2] = IGNORE
    seen = {0: 0, 1: 0, 2: 0}
    for seed in range(400):
        window = crop_on_object(one, 8, [1, 2], torch.Generator().manual_seed(seed))
        at_first = bool((window.labels[0] == 2).any())
        seen[0 if at_first else 2 if bool((window.labels[1] == 2).any()) else 1] += 1
    assert abs(seen[0] - 200) < 5 * 10  # five standard errors
    assert seen[2] > 100 - 5 * 9


def test_a_window_stays_inside_and_an_image_that_is_smaller_is_whole() -> None:
    corner = crop_on_object(example({(0, 0, 89): 1}), 32, [1], torch.Generator().manual_seed(1))
    assert float(corner.image[0, 0, -1]) == 89
    whole = crop_on_object(example({(0, 3, 4): 1}), 80, [1], torch.Generator().manual_seed(1))
    assert whole.image.shape == (1, 70, 80)


def test_where_nothing_is_marked_a_window_lies_anywhere() -> None:
    one = example({(0, 5, 5): 7})
    one.labels[1] = IGNORE
    starts = {float(crop_on_object(one, 24, [1], torch.Generator().manual_seed(s)).image[0, 0, 0]) for s in range(40)}
    assert len(starts) > 30


def test_validation_windows_are_around_the_middle_of_what_is_marked() -> None:
    base = Listed([example({(0, 20, 30): 1, (1, 40, 50): 1, (2, 60, 70): 1}), example({})])
    windows = ObjectWindows(base, Preprocessing(mean=(0.0,), std=(1.0,)), 16, [1])
    assert float(windows[0].image[0, 8, 8]) == 40 * WIDTH + 50
    assert windows[0].labels[1, 8, 8] == 1
    assert float(windows[1].image[0, 8, 8]) == 35 * WIDTH + 45
    seen = ObjectWindows(base, Preprocessing(mean=(0.0,), std=(1.0,), center_crop=20), 16, [1])
    assert seen[0].image.shape == (1, 16, 16)


def test_examples_are_read_once_as_long_as_there_is_room() -> None:
    base = Listed([example({(0, 1, number): 1}) for number in range(4)])
    size = base.examples[0].image.nbytes + base.examples[0].labels.nbytes
    kept = Remembered(base, 2 * size + 1)
    for _ in range(3):
        for number in range(4):
            assert kept[number] is base.examples[number]
    assert base.num_read == 2 + 3 * 2
    assert len(kept) == 4
