"""Windows around what raters marked, and examples that are kept in memory."""

from __future__ import annotations

import pickle

import torch

from plurimask.data.example import Example, ExampleSet
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.remembered import Remembered
from plurimask.data.windows import MAX_PLACES, MarkedPlaces, ObjectWindows, crop_on_object, marked_places
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
    places, marks = set(), marked_places(one.labels, [1])
    for seed in range(60):
        window = crop_on_object(one, 24, marks, torch.Generator().manual_seed(seed))
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
    seen, marks = {0: 0, 1: 0, 2: 0}, marked_places(one.labels, [1, 2])
    for seed in range(400):
        window = crop_on_object(one, 8, marks, torch.Generator().manual_seed(seed))
        at_first = bool((window.labels[0] == 2).any())
        seen[0 if at_first else 2 if bool((window.labels[1] == 2).any()) else 1] += 1
    assert abs(seen[0] - 200) < 5 * 10  # five standard errors
    assert seen[2] > 100 - 5 * 9


def test_a_window_stays_inside_and_an_image_that_is_smaller_is_whole() -> None:
    one = example({(0, 0, 89): 1})
    corner = crop_on_object(one, 32, marked_places(one.labels, [1]), torch.Generator().manual_seed(1))
    assert float(corner.image[0, 0, -1]) == 89
    other = example({(0, 3, 4): 1})
    whole = crop_on_object(other, 80, marked_places(other.labels, [1]), torch.Generator().manual_seed(1))
    assert whole.image.shape == (1, 70, 80)


def test_where_nothing_is_marked_a_window_lies_anywhere() -> None:
    one = example({(0, 5, 5): 7})
    one.labels[1] = IGNORE
    marks = marked_places(one.labels, [1])
    starts = {float(crop_on_object(one, 24, marks, torch.Generator().manual_seed(s)).image[0, 0, 0]) for s in range(40)}
    assert len(starts) > 30


def test_marked_places_are_those_of_each_rater_and_class() -> None:
    one = example({(0, 1, 2): 1, (0, 3, 4): 2, (0, 69, 89): 1, (2, 5, 6): 7})
    one.labels[1] = IGNORE
    found = [{index: places.tolist() for index, places in rater.items()} for rater in marked_places(one.labels, [1, 2])]
    assert found == [{1: [WIDTH + 2, 69 * WIDTH + 89], 2: [3 * WIDTH + 4]}, {}, {}]


def test_of_many_marked_places_a_bounded_number_is_kept_spread_over_all() -> None:
    labels = torch.ones(1, 9, 40, 50, dtype=torch.uint8)
    labels[:, 4:] = 2
    (marks,) = marked_places(labels, [1, 2])
    assert {index: len(places) for index, places in marks.items()} == {1: MAX_PLACES, 2: MAX_PLACES}
    first, last = 4 * 2000, 9 * 2000
    assert int(marks[1].min()) == 0
    assert int(marks[2].min()) == first
    steps = marks[2].diff()
    assert {int(steps.min()), int(steps.max())} <= {2, 3}  # 10,000 pixels
    assert int(marks[2].max()) >= last - 3


def test_labels_are_searched_once_for_an_example_and_places_kept_within_bounds() -> None:
    labels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.uint8)
    labels[0, 3, 4:14] = 1  # 40 bytes
    nothing = torch.zeros_like(labels)
    marked = MarkedPlaces([1], max_bytes=100)
    first = marked.of(5, labels)
    assert marked.of(5, nothing) is first
    marked.of(6, labels)
    marked.of(5, nothing)
    marked.of(7, labels)  # 6, the least recently used, makes room
    assert list(marked.kept) == [5, 7]
    assert marked.num_bytes == 80
    assert marked.of(6, nothing) == [{}, {}]
    copy = pickle.loads(pickle.dumps(marked))
    assert (copy.counted_classes, copy.max_bytes, len(copy.kept)) == ((1,), 100, 0)


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
