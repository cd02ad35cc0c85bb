"""The official tree of Cityscapes, in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_trees import save
from street_tree import write_cityscapes

from plurimask.commands.main import main
from plurimask.data import open_data
from plurimask.data.layouts.cityscapes import LABEL_IDS
from plurimask.data.worlds.streets import street_source
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.flips import Flip
from plurimask.runs.load import load_run, open_run_data

SIZE = (24, 52)
# Class index there -> train id here: sky, building, road, pavement, tree, car, person.
TRAIN_IDS = (10, 2, 0, 1, 8, 13, 11)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cityscapes") / "data"
    write_cityscapes(street_source(num_train=5, num_val=4, num_test=3, size=SIZE), folder)
    return folder


def scene(folder: Path, split: str, city: str, number: int = 0, size: tuple[int, int] = (8, 12)) -> tuple[Path, Path]:
    """One image and its labels of the official tree, random."""
    random = np.random.default_rng(number)
    name = f"{city}_{number:06d}_000019"
    image = save(
        folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
        random.integers(0, 256, (*size, 3), dtype=np.uint8),
    )
    ids = random.integers(0, 34, size, dtype=np.uint8)
    return image, save(folder / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)


def test_the_published_task(tree: Path) -> None:
    source = open_data(tree)
    about = source.description
    assert about.layout == "Cityscapes"
    assert about.num_classes == 24
    assert about.class_names[19:] == ("sidewalk_2", "person_2", "car_2", "vegetation_2", "road_2")
    assert about.class_values == tuple(range(24))
    published = [(1, 19, 8), (11, 20, 7), (13, 21, 6), (8, 22, 5), (0, 23, 4)]
    assert about.flips == tuple(Flip(source, target, share / 17) for source, target, share in published)
    assert about.counted_classes == (0, 1, 8, 11, 13, 19, 20, 21, 22, 23)
    assert (about.channel_names, about.ignore_value, about.has_background) == (("R", "G", "B"), IGNORE, False)
    assert not source.drawn
    assert {name: len(part) for name, part in source.splits.items()} == {"train": 5, "val": 4, "test": 3}
    assert set(source.splits["train"].groups) == {"aachen", "bochum", "bremen"}
    assert set(source.splits["val"].groups) == {"darmstadt", "monchengladbach", "ulm"}
    assert set(source.splits["test"].groups) == {"frankfurt", "lindau", "munster"}
    assert source.splits["train"].names[0] == "aachen_000000_000019"
    assert source.splits["train"][0].flips == about.flips


def test_a_written_world_is_read_back(tree: Path) -> None:
    world, source = street_source(num_train=5, num_val=4, num_test=3, size=SIZE), open_data(tree, flips=["none"])
    assert source.description.flips == ()
    assert source.description.class_names == tuple(LABEL_IDS)
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    table[:7] = torch.tensor(TRAIN_IDS, dtype=torch.uint8)
    for split, examples in source.splits.items():
        for position, name in enumerate(examples.names):
            original, example = world.splits[split][int(name.split("_")[1])], examples[position]
            assert example.name == name
            assert torch.equal(example.image, original.image)
            assert torch.equal(example.labels, table[original.labels.long()])
            assert example.flips == ()


def test_a_quarter_of_the_resolution(tmp_path: Path) -> None:
    image, labels = scene(tmp_path, "train", "ulm", size=(8, 20))
    scene(tmp_path, "train", "jena")
    example = open_data(tmp_path).splits["val"][0]
    from PIL import Image

    pixels, ids = np.asarray(Image.open(image)).astype(float), np.asarray(Image.open(labels))
    by_id = {value: index for index, value in enumerate(LABEL_IDS.values())}
    for row in range(2):
        for column in range(5):
            block = pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].mean((0, 1))
            np.testing.assert_allclose(example.image[:, row, column].numpy(), block, atol=0.5 + 1e-6)
            assert int(example.labels[0, row, column]) == by_id.get(int(ids[4 * row + 2, 4 * column + 2]), IGNORE)
    assert example.image.dtype == torch.float32


def test_the_train_ids_are_the_official_ones() -> None:
    assert list(LABEL_IDS.items())[:3] == [("road", 7), ("sidewalk", 8), ("building", 11)]
    assert list(LABEL_IDS)[11:] == ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
    assert len(LABEL_IDS) == 19


def test_files_of_train_ids_win(tmp_path: Path) -> None:
    _, labels = scene(tmp_path, "train", "jena")
    scene(tmp_path, "val", "lindau")
    path = labels.with_name(labels.name.replace("labelIds", "labelTrainIds"))
    save(path, np.repeat(np.repeat(np.array([[0, 18, 255], [3, 7, 2]], np.uint8), 4, 0), 4, 1))
    assert open_data(tmp_path).splits["train"][0].labels.tolist() == [[[0, 18, 255], [3, 7, 2]]]
    save(path, np.full((8, 12), 19, np.uint8))
    with pytest.raises(InputError, match=r"holds the value 19, expected train ids 0 to 18"):
        open_data(tmp_path).splits["train"][0]


def test_without_the_three_cities_the_official_validation_set_validates(tmp_path: Path) -> None:
    scene(tmp_path, "train", "jena")
    scene(tmp_path, "val", "lindau", 1)
    assert list(open_data(tmp_path).splits) == ["train", "val"]
    assert open_data(tmp_path).splits["val"].groups == ("lindau",)
    scene(tmp_path, "train", "ulm", 2)
    splits = open_data(tmp_path).splits
    assert {name: part.groups for name, part in splits.items()} == {
        "train": ("jena",),
        "val": ("ulm",),
        "test": ("lindau",),
    }


def test_what_does_not_fit(tmp_path: Path) -> None:
    image, labels = scene(tmp_path, "train", "jena")
    ids = labels.read_bytes()
    labels.unlink()
    with pytest.raises(InputError, match=r"jena_000000_000019_leftImg8bit.png: an image without labels: looked for"):
        open_data(tmp_path)
    labels.write_bytes(ids)
    save(labels, np.full((8, 12), 40, np.uint8))
    with pytest.raises(InputError, match="holds the value 40, expected label ids"):
        open_data(tmp_path).splits["train"][0]
    save(labels, np.zeros((8, 16), np.uint8))
    with pytest.raises(InputError, match=r"is 2x4, its image .* is 2x3"):
        open_data(tmp_path).splits["train"][0]
    save(image, np.zeros((8, 13, 3), np.uint8))
    with pytest.raises(InputError, match="8x13, and sides must be multiples of 4"):
        open_data(tmp_path).splits["train"][0]
    save(image, np.zeros((8, 12), np.uint8))
    with pytest.raises(InputError, match="1 channels of uint8, expected R, G, B"):
        open_data(tmp_path).splits["train"][0]
    image.unlink()
    with pytest.raises(InputError, match="no images found"):
        open_data(tmp_path)
    with pytest.raises(InputError, match=r"leftImg8bit/ with gtFine/ \(Cityscapes\)"):
        open_data(tmp_path / "gtFine")


@pytest.mark.slow
def test_the_command_line(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tree)]) == 0
    text = capsys.readouterr().out
    assert "classes    24: road, sidewalk" in text
    assert "modes      32 of each image" in text
    assert "sidewalk -> sidewalk_2 0.4706" in text
    assert "oracle     GED^2" in text
    assert main(["check", str(tree), "--flips", "none"]) == 0
    assert "modes" not in capsys.readouterr().out
    assert main(["check", str(tree), "--flips", "car=0.5", "road=1/4"]) == 0
    assert "modes      4 of each image" in capsys.readouterr().out
    assert main(["check", str(tree), "--flips", "lorry=0.5"]) == 2

    out, few = tmp_path / "run", ["--batch-size", "2", "--num-validations", "1", "--validation-images", "2"]
    arguments = ["train", str(tree), "--method", "probabilistic-unet", "--preset", "small", "--out", str(out), *few]
    assert main([*arguments, "--max-steps", "2"]) == 0
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["num_classes"] == 24
    assert record["data"]["flips"][0] == [1, 19, 8 / 17]
    run = load_run(out)
    again = open_run_data(run.record, tree)
    assert again.description == open_data(tree).description == run.record.data
    assert len(again.splits["test"][0].flips) == 5
    resumed = [*arguments, "--max-steps", "3", "--resume"]
    assert main([*resumed, "--flips", "none"]) == 2
    assert "keeps its flips" in capsys.readouterr().err
    assert main([*resumed, "--flips", "street"]) == 0

    capsys.readouterr()
    assert main(["evaluate", str(out), str(tree), "--samples", "6", "--out", str(tmp_path / "e.json")]) == 0
    printed = capsys.readouterr().out
    assert "sidewalk flips in " in printed and "truly 0.4706" in printed
    content = json.loads((tmp_path / "e.json").read_text())
    assert content["counted_classes"] == [name for name in open_data(tree).description.class_names if flips(name)]
    assert list(content["flips"]) == ["sidewalk", "person", "car", "vegetation", "road"]
    assert 0 < content["flip_error"] < 1
    assert content["ged_oracle"] == pytest.approx(content["rater_diversity"] / 6)
    figures = tmp_path / "figures"
    assert main(["figures", str(out), str(tree), "--samples", "4", "--out", str(figures)]) == 0
    assert {"modes.png", "flips.png", "latents.png", "spread.png"} <= {path.name for path in figures.iterdir()}


def flips(name: str) -> bool:
    """Whether a class is one of those that flip, or a twin."""
    return name.removesuffix("_2") in ("road", "sidewalk", "vegetation", "person", "car")


def test_training_without_flips(tree: Path, tmp_path: Path) -> None:
    out, few = tmp_path / "run", ["--batch-size", "2", "--num-validations", "1", "--validation-images", "2"]
    tiny = ["--channels", "4", "6", "--max-steps", "2", "--flips", "none"]
    assert main(["train", str(tree), "--method", "unet", "--out", str(out), *tiny, *few]) == 0
    record = load_run(out).record
    assert record.config["num_classes"] == 19
    assert open_run_data(record, tree).description.flips == ()
