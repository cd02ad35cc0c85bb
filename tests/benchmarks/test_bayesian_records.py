"""Records of the Bayesian ways: rows that are not measured again stay, and the shipped ones hold what is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bayesian
import bayesian_tables
import pytest
import shifted
import tables
from bayesian_tables import BACKPROPAGATION, COSTS, KEYS, beside, farthest, is_plain, updates
from weight_draws import LIMITS

from plurimask.methods.presets import PRESETS

RESULTS = Path(tables.__file__).parent / "results"
INFORMATION = "error_auroc_information"


def shipped(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def a_record(date: str, methods: dict[str, float], **variants: Any) -> dict[str, Any]:
    results = {"yeast": {"num_images": 3, "methods": {name: {"dice": dice} for name, dice in methods.items()}}}
    return {"config": {"yeast": {"variants": variants}}, "results": results, "date": date, "commit": date[-1] * 40}


def test_rows_that_are_not_measured_again_stay_with_their_date(tmp_path: Path) -> None:
    path = tmp_path / "bayesian.json"
    path.write_text(json.dumps(a_record("day 1", {"unet": 0.9, "swag": 0.8, BACKPROPAGATION: 0.7}, swag=1, other=2)))
    first = bayesian.joined(path, a_record("day 2", {"swag": 0.85}, swag=3))
    found = [(name, own["dice"]) for name, own in first["results"]["yeast"]["methods"].items()]
    assert found == [("unet", 0.9), ("swag", 0.85), (BACKPROPAGATION, 0.7)]
    assert first["config"]["yeast"]["variants"] == {"swag": 3, "other": 2}
    old = {"date": "day 1", "commit": "1" * 40}
    assert first["earlier"] == {"unet on yeast": old, f"{BACKPROPAGATION} on yeast": old}
    path.write_text(json.dumps(first))
    second = bayesian.joined(path, a_record("day 3", {BACKPROPAGATION: 0.75}))
    assert second["date"] == "day 3"
    assert second["earlier"] == {"unet on yeast": old, "swag on yeast": {"date": "day 2", "commit": "2" * 40}}
    assert bayesian.joined(tmp_path / "none.json", a_record("day 1", {"unet": 0.9}))["earlier"] == {}


def test_shifted_images_keep_other_methods_of_the_same_images_only(tmp_path: Path) -> None:
    path = tmp_path / "shifted.json"
    config = {"images": 60}
    assert shifted.kept_of(path, config, ["unet"]) == {} and shifted.kept_of(None, config, ["unet"]) == {}
    path.write_text(json.dumps({"config": config, "results": {"unet": 1, "swag": 2}, "date": "day 1", "commit": None}))
    assert shifted.kept_of(path, config, ["swag"])["results"] == {"unet": 1}
    with pytest.raises(SystemExit, match="other images or samples"):
        shifted.kept_of(path, {"images": 6}, ["swag"])


def test_what_the_network_cost_beside_a_method_stays_until_that_is_measured_again(tmp_path: Path) -> None:
    path, records = tmp_path / "bayesian.json", [a_record(f"day {day}", {name: 0.9}) for day, name in enumerate("abab")]
    for number, record in enumerate(records):
        (name,) = record["results"]["yeast"]["methods"]
        record["results"]["yeast"]["beside"] = {name: {"step_ms": number, "image_ms": 1.25}} if number < 3 else {}
    kept = []
    for record in records:
        path.write_text(json.dumps(bayesian.joined(path, record)))
        kept.append(json.loads(path.read_text())["results"]["yeast"])
    steps = [{name: own["step_ms"] for name, own in found["beside"].items()} for found in kept]
    assert steps == [{"a": 0}, {"a": 0, "b": 1}, {"b": 1, "a": 2}, {"a": 2}]
    (said,) = beside(kept[-1])
    assert "The milliseconds of `a`" in said and "took 2.00 a step and 1.25 an image" in said


def test_methods_too_far_below_the_network_are_named() -> None:
    found = {"yeast": {"methods": {"unet": {"dice": 0.9}, "swag": {"dice": 0.8701}, "ensemble": {"dice": 0.8699}}}}
    assert bayesian.missed(found) == ["ensemble on yeast"]


@pytest.mark.parametrize("data", ["yeast", "bbbc010"])
def test_each_way_has_all_figures_and_comes_near_the_network(data: str) -> None:
    methods = shipped("bayesian")["results"][data]["methods"]
    assert tuple(methods) == bayesian.METHODS
    for name, own in methods.items():
        wanted = {*KEYS, *COSTS} - ({INFORMATION} if name == "unet" else set())  # one network has no draws that differ
        assert [key for key in wanted if own[key] is None] == [], name
    assert bayesian.missed({data: {"methods": methods}}) == []


@pytest.mark.parametrize("data", ["yeast", "bbbc010"])
def test_probabilistic_backpropagation_is_measured_as_its_preset_has_it(data: str) -> None:
    own = PRESETS[BACKPROPAGATION]["small"].method
    assert own["normalisation"] == "batch" and own["memory"] is not None
    assert not is_plain(shipped("bayesian")["config"][data])


def test_each_way_is_shown_each_shift() -> None:
    results = shipped("shifted")["results"]
    assert tuple(results) == bayesian.METHODS
    for name, own in results.items():
        for score in ("entropy",) if name == "unet" else shifted.SCORES:
            assert list(own[score]) == list(shifted.SHIFTS)
            assert all(0 <= value <= 1 for value in own[score].values()), name


def test_twenty_draws_of_weights_cost_what_is_asked() -> None:
    record = shipped("weight_draws")
    assert record["config"]["draws"] == 20 and len(record["results"]) > 0
    for values in record["results"].values():
        assert [name for name, limit in LIMITS.items() if values[f"{name}, ratio"] > limit] == []


def test_tables_say_which_updates_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    of_paper = {"variants": {BACKPROPAGATION: [BACKPROPAGATION, {"memory": None}]}}
    both = updates({"yeast": {"variants": {}}, "bbbc010": of_paper})
    assert "in the table of Trapped yeast as its preset `small` has it" in both
    assert "; in the table of C. elegans (BBBC010) by the plain updates" in both
    one = updates({"yeast": of_paper, "bbbc010": of_paper})
    assert "the table of Trapped yeast and that of C. elegans (BBBC010) by the plain updates" in one and ";" not in one
    record = {"results": {"unet": {"entropy": {"blurred": 0.5}}}, "config": {"images": 6, "samples": 2}}
    for settings, way in (({}, "the plain updates"), ({BACKPROPAGATION: {"memory": 3.0}}, "its preset `small`")):
        monkeypatch.setattr(bayesian_tables, "load", lambda _, own=settings: {**record, "settings": own})
        assert way in bayesian_tables.shifted()[-1]


def test_the_farthest_below_the_network_is_named() -> None:
    methods = {"unet": {"dice": 0.9}, "swag": {"dice": 0.91}, "ensemble": {"dice": 0.875}}
    assert farthest({"methods": methods}) == "Farthest below `unet`: `ensemble`, by 0.025 Dice."
