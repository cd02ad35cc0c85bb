"""Any data of one annotator become ambiguous in a known way."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from data_trees import write_folder

from plurimask.data.crops import random_crop
from plurimask.data.example import DataDescription, DataSource
from plurimask.data.flipping import law_of, parse_flips, refuse_other_law, with_flips, without_flips
from plurimask.data.preprocessing import Preprocessing, Views, draw_labels
from plurimask.data.source import open_data
from plurimask.data.worlds.lesions import lesion_source
from plurimask.data.worlds.streets import CLASSES, StreetWorld, street_source
from plurimask.errors import InputError
from plurimask.evaluation.check import check_data
from plurimask.flips import Flip, apply_flips, mode_table
from plurimask.metrics import joint_distances
from plurimask.prediction.seeds import generator_of
from plurimask.training.batches import TrainingBatches, TrainingData
from plurimask.training.config import TrainingConfig

LAW = {"road": 4 / 17, "person": 0.4, "tree": 0.3}
FLIPS = (Flip(2, 7, 4 / 17), Flip(6, 8, 0.4), Flip(4, 9, 0.3))


@pytest.fixture(scope="module")
def source() -> DataSource:
    return with_flips(street_source(num_train=6, num_val=3, size=(24, 50)), LAW)


def test_twins_are_new_classes(source: DataSource) -> None:
    about = source.description
    assert about.class_names == (*CLASSES, "road_2", "person_2", "tree_2")
    assert about.class_values == tuple(range(10))
    assert about.flips == FLIPS
    assert about.counted_classes == (2, 4, 6, 7, 8, 9)
    example, plain = source.splits["val"][1], street_source(num_train=6, num_val=3, size=(24, 50)).splits["val"][1]
    assert example.flips == FLIPS
    assert torch.equal(example.labels, plain.labels)
    assert source.splits["val"].groups == source.splits["val"].names == street_source(6, 3).splits["val"].names


def test_the_description_survives_json(source: DataSource) -> None:
    again = DataDescription.model_validate_json(source.description.model_dump_json())
    assert again == source.description
    assert isinstance(again.flips[0], Flip)
    assert again.flips[0].probability == LAW["road"]
    older = {key: value for key, value in street_source().description.model_dump().items() if key != "flips"}
    assert DataDescription.model_validate(older).flips == ()


def test_flips_can_be_taken_back(source: DataSource) -> None:
    assert without_flips(source.description) == street_source().description
    assert law_of(source.description) == LAW
    assert with_flips(source, {}) is source


def test_mask_values_of_twins_are_unused_ones() -> None:
    plain = street_source()

    def values(**changes: object) -> tuple[int, ...]:
        about = plain.description.model_copy(update=changes)
        return with_flips(replace(plain, description=about), LAW).description.class_values[7:]

    assert values(class_values=(0, 3, 7, 8, 20, 30, 33)) == (34, 35, 36)
    assert values(class_values=(0, 3, 7, 8, 20, 30, 33), ignore_value=35) == (34, 36, 37)
    assert values(class_values=(1, 3, 7, 8, 20, 30, 253)) == (254, 0, 2)
    assert values(class_values=(0, 3, 7, 8, 20, 30, 1000)) == (31, 32, 33)


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ({"rode": 0.5}, "did you mean road"),
        ({"road": 1.0}, "between 0 and 1"),
        ({"road": 0.0}, "between 0 and 1"),
        ({"road": math.nan}, "between 0 and 1"),
    ],
)
def test_wrong_laws(law: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        with_flips(street_source(), law)


def test_data_that_cannot_flip(source: DataSource) -> None:
    with pytest.raises(InputError, match=r"4 raters .*single one"):
        with_flips(lesion_source(), {"lesion": 0.5})
    with pytest.raises(InputError, match="have a class road_2 already"):
        with_flips(source, LAW)


@pytest.mark.parametrize(
    ("words", "law"),
    [
        (["none"], {}),
        (["road=4/17", "Person=0.4", "TREE=.3"], LAW),
        (["street"], {"pavement": 8 / 17, "person": 7 / 17, "car": 6 / 17, "tree": 5 / 17, "road": 4 / 17}),
    ],
)
def test_words(words: list[str], law: dict[str, float]) -> None:
    found = parse_flips(words, CLASSES)
    assert found == law
    assert list(found) == list(law)


def test_the_street_law_knows_other_names() -> None:
    names = ("Sky", "Road", "Sidewalk", "Vegetation", "Car", "Pedestrian")
    assert list(parse_flips(["Street"], names)) == ["Sidewalk", "Pedestrian", "Car", "Vegetation", "Road"]
    with pytest.raises(InputError, match=r"needs a class sidewalk or pavement, the data have background, lesion"):
        parse_flips(["street"], ("background", "lesion"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["strete"], "did you mean street"),
        (["road=0.5", "street"], "expected CLASS=PROBABILITY"),
        (["road=half"], "'half' is no number"),
        (["road=1/0"], "'1/0' is no number"),
        (["road=0.5", "Road=0.4"], "road is there twice"),
        (["rood=0.5"], "unknown class in --flips 'rood': did you mean road"),
        ([], "no class given"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_flips(words, CLASSES)


def test_cropping_and_normalising_keep_flips(source: DataSource) -> None:
    example = source.splits["train"][0]
    window = Preprocessing(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), center_crop=20)
    assert window.example(example).flips == FLIPS
    assert window.example(example).labels.shape == (1, 20, 20)
    assert Views(source.splits["train"], window)[0].flips == FLIPS
    assert random_crop(example, 16, torch.Generator()).flips == FLIPS


def test_a_step_sees_as_many_raters_as_it_asks_for(source: DataSource) -> None:
    example = source.splits["train"][0]
    drawn = draw_labels(example, 300, torch.Generator().manual_seed(0))
    assert drawn.labels.shape == (300, 24, 50)
    assert drawn.flips == ()
    flipped = (drawn.labels == 7).flatten(1).any(1)
    assert bool(((drawn.labels == 7).flatten(1).sum(1) == flipped * (example.labels == 2).sum()).all())
    p = 4 / 17
    assert abs(float(flipped.double().mean()) - p) < 4 * math.sqrt(p * (1 - p) / 300)

    preprocessing = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
    data = TrainingData(source.splits["train"], None, preprocessing, source.description.counted_classes)
    config = TrainingConfig(max_steps=1, batch_size=2, raters_per_step=5, crop=16)
    images, labels = TrainingBatches(data, config, 3, 0, 0, 1).batch(0)
    assert images.shape == (2, 3, 16, 16)
    assert labels.shape == (2, 5, 16, 16)
    assert torch.equal(labels, TrainingBatches(data, config, 3, 0, 0, 1).batch(0)[1])


def test_ordinary_examples_are_drawn_as_before() -> None:
    example = lesion_source(num_train=2, size=32).splits["train"][0]
    drawn = draw_labels(example, 9, generator_of("x"))
    assert drawn.labels.shape == (4, 32, 32)
    assert sorted(map(str, drawn.labels.tolist())) == sorted(map(str, example.labels.tolist()))


def test_open_data_with_flips_and_in_the_sense_of_a_run(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "one", dict.fromkeys("abcdefg", (0, 1, 2, 3)))
    source = open_data(folder, flips=["class 2=0.25"])
    assert source.description.class_names[4:] == ("class 2_2",)
    assert source.splits["val"][0].flips == (Flip(2, 4, 0.25),)
    assert open_data(folder).description.flips == ()
    other = write_folder(tmp_path / "two", dict.fromkeys("hij", (0, 1)))
    again = open_data(other, expected=source.description)
    assert again.description.class_names == source.description.class_names
    assert again.description.flips == source.description.flips
    assert again.splits["val"][0].flips == (Flip(2, 4, 0.25),)
    plain = open_data(folder).description
    assert open_data(other, expected=plain).description.flips == ()


def test_binary_masks_can_flip_too(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, dict.fromkeys("abc", (0, 255)))
    about = open_data(folder, flips=["foreground=1/3"]).description
    assert about.class_values == (0, 255, 1)
    assert about.counted_classes == (1, 2)
    assert open_data(folder, expected=about).description.flips == (Flip(1, 2, 1 / 3),)


def test_a_resumed_run_keeps_its_flips(source: DataSource) -> None:
    refuse_other_law(["road=4/17", "person=0.4", "tree=0.3"], source.description)
    refuse_other_law(["none"], street_source().description)
    for words in (["none"], ["road=4/17", "person=0.4"], ["street"]):
        with pytest.raises(InputError, match=r"keeps its flips \(road=0.2353, person=0.4, tree=0.3\)"):
            refuse_other_law(words, source.description)


def test_check_reports_the_law_and_the_exact_distance(source: DataSource) -> None:
    report = check_data(source)
    mus, pixels = [], torch.zeros(256, dtype=torch.float64)
    examples = [source.splits["train"][index] for index in range(6)]
    happens, weights = mode_table(FLIPS)
    for example in examples:
        modes = apply_flips(example.labels[0], FLIPS, happens)
        distances = joint_distances([modes], source.description.counted_classes, example.labels[0] != 255)
        mus.append(float(weights @ distances @ weights))
        pixels += sum(
            weight * torch.bincount(mode.flatten(), minlength=256) for mode, weight in zip(modes, weights, strict=True)
        )
    mu, split = sum(mus) / 6, report.splits["train"]
    assert split.rater_distance == pytest.approx(mu)
    assert split.oracle_ged == pytest.approx(mu / 16)
    assert split.class_shares == pytest.approx((pixels[:10] / pixels[:255].sum()).tolist())
    text = "\n".join(report.lines())
    for words in ("road -> road_2 0.2353", "modes      8 of each image", f"{mu:.4f}", f"{mu / 16:.4f}"):
        assert words in text, text
    assert not any("_2" in warning for warning in report.warnings)


def test_images_without_such_a_class_have_no_distance() -> None:
    source = with_flips(DataSource(street_source().description, {"val": StreetWorld(40, 2)}, False), {"person": 0.5})
    split = check_data(source).splits["val"]
    # With one class two modes agree (d = 0) or not (d = 1), half of the time each.
    assert split.rater_distance == pytest.approx(0.5)
    assert sum(bool((source.splits["val"][index].labels == 6).any()) for index in range(40)) < 40
