"""Trapped yeast as its authors store it, in miniature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_trees import gray, mask, save

from plurimask.data import open_data, open_images
from plurimask.data.layouts.yeast import CLASS_NAMES
from plurimask.errors import InputError
from plurimask.evaluation.check import check_data

HEIGHT, WIDTH = 7, 11


def put(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(values, path)
    return path


def picture(seed: int) -> torch.Tensor:
    return torch.randn(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def box(rows: slice, columns: slice) -> torch.Tensor:
    """An instance `(H, W)`."""
    instance = torch.zeros(HEIGHT, WIDTH)
    instance[rows, columns] = 1
    return instance


def objects() -> torch.Tensor:
    """Four maps: a cell, a trap that it overlaps, a further cell, and another trap."""
    return torch.stack(
        [
            box(slice(0, 3), slice(2, 6)),
            box(slice(2, 6), slice(0, 4)),
            box(slice(5, 7), slice(8, 11)),
            box(slice(3, 5), slice(6, 8)),
        ]
    )


def merged() -> np.ndarray:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[2:6, 0:4] = labels[3:5, 6:8] = 1
    labels[0:3, 2:6] = labels[5:7, 8:11] = 2
    return labels


def write_split(folder: Path, labelled: list[int], unlabelled: list[int] = []) -> Path:  # noqa: B006
    """A split with the objects above in each labelled image."""
    (folder / "instances").mkdir(parents=True)
    for number in labelled + unlabelled:
        put(folder / "inputs" / f"{number}.pt", picture(number))
        put(folder / "classes" / f"{number}.pt", torch.tensor([2, 1, 3, 1]))  # the real data have these for all images
    for number in labelled:
        put(folder / "instances" / f"{number}.pt", objects())
        put(folder / "bounding_boxes" / f"{number}.pt", torch.zeros(4, 4))
    return folder


def test_images_and_merged_classes(tmp_path: Path) -> None:
    write_split(tmp_path / "train", [10, 2, 1])
    write_split(tmp_path / "val", [40])
    write_split(tmp_path / "test", [30])
    source = open_data(tmp_path)
    about = source.description
    assert about.layout == "trapped yeast" and list(source.splits) == ["train", "val", "test"] and not source.drawn
    assert about.class_names == CLASS_NAMES == ("background", "trap", "cell") and about.counted_classes == (1, 2)
    assert about.channel_names == ("brightfield",) and about.rater_names == ("annotator",)
    assert "left out" not in about.encoding
    train = source.splits["train"]
    assert train.names == train.groups == ("1", "2", "10")
    example = train[2]
    assert example.image.dtype == torch.float32 and torch.equal(example.image, picture(10)[None])
    assert example.labels.dtype == torch.uint8 and example.labels.shape == (1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(example.labels[0].numpy(), merged())  # where cell and trap overlap it is the cell
    report = check_data(source)
    assert report.splits["train"].num_images == 3 and not report.warnings


def test_the_order_of_objects_does_not_matter(tmp_path: Path) -> None:
    write_split(tmp_path, [1, 2])
    put(tmp_path / "instances" / "2.pt", objects().flip(0))
    put(tmp_path / "classes" / "2.pt", torch.tensor([1, 3, 1, 2]))
    source = open_data(tmp_path)
    for examples in source.splits.values():
        np.testing.assert_array_equal(examples[0].labels[0].numpy(), merged())


def test_what_was_given_is_not_shared(tmp_path: Path) -> None:
    write_split(tmp_path / "train", [1, 2])
    examples = open_data(tmp_path).splits["train"]
    first = examples[0]
    first.image.zero_()
    first.labels.zero_()
    assert torch.equal(examples[0].image[0], picture(1)) and examples[0].labels.max() == 2


def test_a_tree_without_splits_is_split(tmp_path: Path) -> None:
    source = open_data(write_split(tmp_path, [0, 1, 2, 3, 4]))
    assert source.drawn and {split: len(part) for split, part in source.splits.items()} == {"train": 4, "val": 1}


def test_unlabelled_images_are_left_out_and_counted(tmp_path: Path) -> None:
    write_split(tmp_path / "train", [3], [0, 1, 2, 4])
    write_split(tmp_path / "val", [7, 8])
    write_split(tmp_path / "test", [], [5, 6])
    source = open_data(tmp_path)
    assert {split: part.names for split, part in source.splits.items()} == {"train": ("3",), "val": ("7", "8")}
    assert source.description.encoding.endswith("without instances are left out: train 4 of 5, test 2 of 2.")
    alone = write_split(tmp_path / "alone", [1, 2], [3])
    assert open_data(alone).description.encoding.endswith("are left out: 1 of 3.")


def test_names_that_occur_in_two_splits_say_their_split(tmp_path: Path) -> None:
    write_split(tmp_path / "train", [0, 1])
    write_split(tmp_path / "val", [0])
    source = open_data(tmp_path)
    assert source.splits["train"].names == ("train/0", "train/1") and source.splits["val"].names == ("val/0",)
    assert not check_data(source).warnings


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float16, torch.bfloat16])
def test_other_types_of_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    write_split(tmp_path / "train", [1])
    put(tmp_path / "train" / "inputs" / "1.pt", torch.arange(77).reshape(1, HEIGHT, WIDTH).to(torch.float64))
    put(tmp_path / "train" / "instances" / "1.pt", objects().to(dtype))
    put(tmp_path / "train" / "classes" / "1.pt", torch.tensor([2.0, 1.0, 3.0, 1.0]))
    example = open_data(tmp_path).splits["train"][0]
    assert example.image.dtype == torch.float32 and example.image[0, 6, 10] == 76
    np.testing.assert_array_equal(example.labels[0].numpy(), merged())


def test_an_image_without_objects_is_background(tmp_path: Path) -> None:
    write_split(tmp_path / "train", [1])
    put(tmp_path / "train" / "instances" / "1.pt", torch.zeros(0, HEIGHT, WIDTH))
    put(tmp_path / "train" / "classes" / "1.pt", torch.zeros(0, dtype=torch.int64))
    labels = open_data(tmp_path).splits["train"][0].labels
    assert labels.shape == (1, HEIGHT, WIDTH) and labels.max() == 0


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("inputs", torch.zeros(3, HEIGHT, WIDTH), r"inputs/1\.pt.*\(3, 7, 11\), expected \(H, W\) or \(1, H, W\)"),
        ("inputs", torch.full((HEIGHT, WIDTH), torch.nan), r"inputs/1\.pt: 77 values are NaN"),
        ("inputs", {"image": torch.zeros(2)}, r"inputs/1\.pt: holds dict, expected a dense tensor"),
        ("inputs", torch.zeros(HEIGHT, WIDTH).to_sparse(), r"inputs/1\.pt: holds torch.sparse_coo"),
        ("inputs", torch.zeros(WIDTH, HEIGHT), r"instances/1\.pt: the instances are 7x11, .*inputs/1\.pt is 11x7"),
        ("inputs", Path("somewhere"), r"inputs/1\.pt: cannot be read, damaged or more than a tensor"),
        ("instances", torch.zeros(HEIGHT, WIDTH), r"instances/1\.pt.*\(7, 11\), expected \(objects, H, W\)"),
        ("instances", objects() * 0.5, r"instances/1\.pt: holds 0\.5, expected 0 and 1"),
        ("instances", objects()[:3], r"classes/1\.pt: classes of the shape \(4,\), expected \(3,\)"),
        ("classes", torch.eye(4), r"classes/1\.pt: classes of the shape \(4, 4\), expected \(4,\)"),
        ("classes", torch.tensor([1, 2, 0, 1]), r"classes/1\.pt: holds the class 0, known are 1 \(trap\)"),
        ("classes", torch.tensor([1, 2, 3, 4]), r"classes/1\.pt: holds the class 4, known are 1 \(trap\)"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, file: str, values: Any, words: str) -> None:
    write_split(tmp_path / "train", [0, 1])
    put(tmp_path / "train" / file / "1.pt", values)
    with pytest.raises(InputError, match=words):
        open_data(tmp_path)


@pytest.mark.parametrize("file", ["inputs", "instances", "classes"])
@pytest.mark.parametrize("content", [b"", b"not a tensor at all", None])
def test_damaged_files(tmp_path: Path, file: str, content: bytes | None) -> None:
    write_split(tmp_path / "train", [1])
    path = tmp_path / "train" / file / "1.pt"
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(InputError, match=rf"{file}/1\.pt: cannot be read, damaged .*copy the file again"):
        open_data(tmp_path)


def test_numbers_that_numpy_lacks(tmp_path: Path) -> None:
    write_split(tmp_path, [0])
    put(tmp_path / "inputs" / "0.pt", picture(0).to(torch.float8_e4m3fn))
    with pytest.raises(InputError, match=r"0\.pt: holds torch\.float8_e4m3fn.*save it as float32"):
        open_data(tmp_path)


def test_a_folder_that_is_called_like_a_file(tmp_path: Path) -> None:
    write_split(tmp_path, [0, 1])
    (tmp_path / "inputs" / "99.pt").mkdir()
    found = open_data(tmp_path).splits
    assert sum(map(len, found.values())) == 2


def test_splits_and_none(tmp_path: Path) -> None:
    write_split(tmp_path, [0])
    write_split(tmp_path / "val", [1])
    with pytest.raises(InputError, match=r"instances/ lies beside split folders \(val\)"):
        open_data(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    write_split(tmp_path / "train", [1, 2])
    (tmp_path / "train" / "classes" / "2.pt").unlink()
    with pytest.raises(InputError, match=r"instances/2\.pt: instances without classes: add classes/2\.pt"):
        open_data(tmp_path)
    (tmp_path / "train" / "inputs" / "2.pt").unlink()
    with pytest.raises(InputError, match=r"instances/2\.pt: instances without an image: add inputs/2\.pt"):
        open_data(tmp_path)
    (tmp_path / "train" / "inputs" / "1.pt").unlink()
    with pytest.raises(InputError, match=r"inputs: no images found, looked for inputs/K\.pt; it holds nothing"):
        open_data(tmp_path)


def test_nothing_labelled(tmp_path: Path) -> None:
    write_split(tmp_path / "test", [], [1, 2])
    with pytest.raises(InputError, match=r"no image has labels: .*instances/ with nothing.*predict these"):
        open_data(tmp_path)


def test_in_the_sense_of_a_run(tmp_path: Path) -> None:
    write_split(tmp_path / "train", [1, 2])
    about = open_data(tmp_path).description
    assert open_data(tmp_path, expected=about).description == about
    other = about.model_copy(update={"class_names": ("background", "worm"), "class_values": (0, 1)})
    with pytest.raises(InputError, match="has the classes background, trap, cell, expected background, worm"):
        open_data(tmp_path, expected=other)


def test_what_is_looked_for_names_the_layout(tmp_path: Path) -> None:
    put(tmp_path / "inputs" / "1.pt", picture(1))
    with pytest.raises(InputError, match=r"inputs/ with \[SPLIT/\]instances/ and \[SPLIT/\]classes/ \(trapped yeast\)"):
        open_data(tmp_path)


def test_inputs_can_be_predicted(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "test", [10, 2], [1])
    images = open_images(folder, ("brightfield",))
    assert images.names == ("1", "2", "10") and len(images) == 3
    assert torch.equal(images[2], picture(10)[None])
    assert len(open_images(folder, ("intensity",))) == 3  # of a run on images of one channel by another name
    with pytest.raises(InputError, match=r"1 channels, expected 3 \(R, G, B\)"):
        open_images(folder, ("R", "G", "B"))
    with pytest.raises(InputError, match="with the splits test: give one of them"):
        open_images(tmp_path, ("brightfield",))
    put(folder / "inputs" / "1.pt", torch.full((HEIGHT, WIDTH), torch.inf))
    with pytest.raises(InputError, match=r"inputs/1\.pt: 77 values are NaN or infinite"):
        open_images(folder, ("brightfield",))[0]


def test_only_inputs_are_enough_to_predict(tmp_path: Path) -> None:
    put(tmp_path / "inputs" / "4.pt", picture(4))
    assert open_images(tmp_path, ("brightfield",)).names == ("4",)


def test_inputs_of_image_files_are_no_trapped_yeast(tmp_path: Path) -> None:
    save(tmp_path / "inputs" / "a.png", gray())
    assert open_images(tmp_path, ("intensity",)).names == ("inputs/a",)
    save(tmp_path / "images" / "a.png", gray())
    save(tmp_path / "masks" / "a.png", mask(0, 1))
    save(tmp_path / "images" / "b.png", gray(1))
    save(tmp_path / "masks" / "b.png", mask(0, 1))
    (tmp_path / "instances").mkdir()
    assert open_data(tmp_path).description.layout == "folder"
