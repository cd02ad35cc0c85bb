"""Presets, files and the command line on top of each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from external_method import IMPORT_PATH, install

from plurimask.errors import InputError
from plurimask.method import SegmentationMethod
from plurimask.methods import METHODS, build_method
from plurimask.methods.presets import PRESETS
from plurimask.runs.plan import Plan, merged, refuse_unused, resolve, settings_for, used


def test_a_budget_takes_the_place_of_the_whole_budget() -> None:
    assert resolve(Plan("unet"))[1].max_steps == 2000
    training = resolve(Plan("unet", settings={"max_steps": 7, "augmentation": {"rotation": 3}}))[1]
    assert (training.max_steps, training.max_minutes) == (7, None)
    assert (training.augmentation.rotation, training.augmentation.flip_horizontal) == (3, 0.5)
    training = resolve(Plan("unet", settings={"max_minutes": 3.0}))[1]
    assert (training.max_steps, training.max_minutes) == (None, 3.0)
    assert resolve(Plan("unet", settings={"max_minutes": None}))[1].max_steps == 2000


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"latent_dim": 3}, "unknown setting of unet"), ({"num_classes": 3}, "unknown"), ({"channels": [4]}, "channels")],
)
def test_what_cannot_be_set_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolve(Plan("unet", settings=settings))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_without_an_optimiser_has_no_setting_of_one(name: str) -> None:
    given = {"learning_rate": 1e-3, "gradient_clip": 1.0, "max_steps": 5}
    if METHODS[name].has_optimiser:
        refuse_unused(Plan(name, settings=given))
        assert settings_for(name, given).items() >= given.items()
    else:
        assert METHODS[name].update is not SegmentationMethod.update
        with pytest.raises(InputError, match="without an optimiser: leave out gradient_clip, learning_rate"):
            refuse_unused(Plan(name, settings=given))
        assert settings_for(name, given) == {"max_steps": 5}


def test_tables_are_merged_and_all_else_is_replaced() -> None:
    old = {"a": {"b": 1, "c": {"d": 2}}, "e": (1, 2)}
    assert merged(old, {"a": {"c": {"f": 3}}, "e": (4,)}) == {"a": {"b": 1, "c": {"d": 2, "f": 3}}, "e": (4,)}
    assert old == {"a": {"b": 1, "c": {"d": 2}}, "e": (1, 2)}


def test_a_method_from_outside_has_the_small_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path))
    own, training = resolve(Plan(IMPORT_PATH, settings={"spread": 0.25}))
    assert own == {"spread": 0.25}
    assert training == resolve(Plan("unet"))[1]
    assert IMPORT_PATH not in PRESETS
    chosen = settings_for("ensemble", {"members": [IMPORT_PATH], "spread": 0.75, "channels": [4, 6]})
    assert chosen["member_settings"][IMPORT_PATH] == {"spread": 0.75}
    assert chosen["member_settings"]["unet"] == {"channels": [4, 6]}


def test_only_settings_of_methods_that_are_within_are_noted() -> None:
    own, _ = resolve(Plan("ensemble", settings={"members": ("unet", "swag")}))
    assert own["member_settings"].keys() == {"unet", "swag"}
    assert own["member_settings"]["swag"]["base_settings"].keys() == {"unet"}
    assert resolve(Plan("swag", settings={"base": "m-heads"}))[0]["base_settings"].keys() == {"m-heads"}
    shared = settings_for("ensemble", {"channels": (4, 6)})
    assert len(shared["member_settings"]) > 5
    assert used("ensemble", shared, {"members": ("m-heads",)})["member_settings"] == {"m-heads": {"channels": (4, 6)}}
    assert used("ensemble", {**shared, "members": ["unet"]})["member_settings"] == {"unet": {"channels": (4, 6)}}


def test_what_is_no_method_stays_and_is_refused_where_the_method_is_built() -> None:
    table = {"unett": {"channels": (4, 6)}, 1: {"channels": (4, 8)}, "m-heads": {}}
    own, _ = resolve(Plan("ensemble", settings={"members": ("unet", "unet"), "member_settings": table}))
    assert own["member_settings"].keys() == {"unett", "1", "unet"}
    with pytest.raises(InputError, match="unknown method or number of a member in member_settings 'unett'"):
        build_method("ensemble", **own)


def test_a_numbered_member_keeps_the_settings_of_its_own_base() -> None:
    table = {"swag": {"base_settings": {"m-heads": {"num_heads": 3}}}, "0": {"base": "m-heads"}}
    own, _ = resolve(Plan("ensemble", settings={"members": ("swag", "swag"), "member_settings": table}))
    assert own["member_settings"]["swag"]["base_settings"]["m-heads"]["num_heads"] == 3
