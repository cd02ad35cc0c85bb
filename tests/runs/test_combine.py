"""Ensembles: trained in one run, or joined from runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from plurimask import Plan, load_run, open_data, train_run
from plurimask.commands.main import main
from plurimask.data.preprocessing import Preprocessing
from plurimask.distribution import MixtureSegmentation
from plurimask.errors import InputError
from plurimask.method import SegmentationMethod
from plurimask.methods import build_method
from plurimask.noise import Generators
from plurimask.runs.combine import combine_runs
from plurimask.training.batches import TrainingBatches, TrainingData
from plurimask.training.checkpoint import TrainingJob
from plurimask.training.config import TrainingConfig
from plurimask.training.log import read_metrics
from plurimask.training.members import fit_parts, shared_budget

FAST: dict[str, Any] = {"max_steps": 2, "num_validations": 1, "validation_images": 2, "batch_size": 2}


def plan(method: str, seed: int = 0, **settings: Any) -> Plan:
    return Plan(method, "small", {**FAST, **settings}, seed)


@pytest.fixture(scope="module")
def folder(lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `a` and `b` of U-Nets, `p` of a Probabilistic U-Net."""
    out = tmp_path_factory.mktemp("runs")
    source = open_data(lesion_folder)
    train_run(plan("unet", 0, channels=(4, 6)), source, out / "a")
    train_run(plan("unet", 1, channels=(5, 6)), source, out / "b")
    train_run(plan("probabilistic-unet", 2, channels=(4, 6)), source, out / "p")
    return out


def test_members_of_one_run_differ_and_share_the_budget(lesion_folder: Path, tmp_path: Path) -> None:
    settings = {"members": ("unet", "unet", "unet"), "member_settings": {"unet": {"channels": (4, 6)}}, "max_steps": 6}
    outcome = train_run(plan("ensemble", **settings), open_data(lesion_folder), tmp_path / "run")
    assert outcome["steps"] == 6
    assert not outcome["stopped"]
    members = load_run(tmp_path / "run").method.parts()
    assert len(members) == 3
    weights = [torch.cat([p.flatten() for p in member.parameters()]) for member in members]
    assert all(float((weights[i] - weights[j]).abs().max()) > 0.01 for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert rows[-1]["val_ged"] == pytest.approx(outcome["best_ged"])
    assert (tmp_path / "run" / "members" / "02" / "weights.safetensors").exists()


def test_members_see_their_own_order_of_the_data(lesion_folder: Path, tmp_path: Path) -> None:
    """The trainings of two members start from different seeds, and so draw different batches."""
    source, seeds = open_data(lesion_folder), []

    def fit(part: SegmentationMethod, data: TrainingData, config: TrainingConfig, job: TrainingJob) -> dict[str, Any]:
        seeds.append(job.seed)
        return {"steps": 1, "minutes": 0.0, "stopped": False}

    method = build_method("ensemble", members=("unet",) * 3, member_settings={"unet": {"channels": (4, 6)}})
    data = TrainingData(source.splits["train"], None, Preprocessing(mean=(0.0,), std=(1.0,)), (1,))
    config = TrainingConfig(max_steps=3, batch_size=2)
    fit_parts(method, data, config, TrainingJob(tmp_path), fit)
    batches = [TrainingBatches(data, config, seed, 0, 0, 1).batch(0)[0] for seed in seeds]
    assert len(set(seeds)) == 3
    assert not torch.equal(batches[0], batches[1]) and not torch.equal(batches[1], batches[2])


def test_an_interrupted_ensemble_continues(lesion_folder: Path, tmp_path: Path) -> None:
    settings = {"members": ("unet", "unet"), "member_settings": {"unet": {"channels": (4, 6)}}, "max_steps": 4}
    source = open_data(lesion_folder)
    train_run(plan("ensemble", **settings), source, tmp_path / "whole")
    train_run(plan("ensemble", **settings), source, tmp_path / "cut")
    (tmp_path / "cut" / "weights.safetensors").unlink()
    for left in (tmp_path / "cut" / "members" / "01").rglob("*"):  # as if killed between the members
        if left.is_file():
            left.unlink()
    train_run(plan("ensemble", **settings), source, tmp_path / "cut", resume=True)
    whole, cut = load_run(tmp_path / "whole").method, load_run(tmp_path / "cut").method
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_ensemble_of_deterministic_members_is_a_mixture_with_exact_weights() -> None:
    torch.manual_seed(0)
    own = {"unet": {"channels": (4, 6)}, "m-heads": {"channels": (4, 5), "num_heads": 3}}
    method = build_method("ensemble", members=("unet", "m-heads"), member_settings=own, num_classes=3).eval()
    images = torch.randn(2, 1, 17, 22)
    with torch.no_grad():
        prediction = method(images)
        mixture = prediction.freeze(16)
        parts = [member(images).freeze(1).mean() for member in method.parts()]
        assert isinstance(mixture, MixtureSegmentation)
        assert mixture.num_components == 4
        torch.testing.assert_close(mixture.weights, torch.tensor([1 / 2, 1 / 6, 1 / 6, 1 / 6]))
        torch.testing.assert_close(mixture.mean(), (parts[0] + parts[1]) / 2)


def test_stochastic_members_take_turns_and_draw_anew() -> None:
    torch.manual_seed(0)
    own = {"unet": {"channels": (4, 6)}, "probabilistic-unet": {"channels": (4, 5)}}
    members = ("unet", "probabilistic-unet", "dropout-unet")
    method = build_method("ensemble", members=members, member_settings={**own, "dropout-unet": {"channels": (4, 6)}})
    images = torch.randn(2, 1, 17, 22)
    with torch.no_grad():
        prediction = method.eval()(images)
        source = Generators(torch.Generator().manual_seed(0), tuple(torch.Generator().manual_seed(s) for s in (1, 2)))
        noise = prediction.draw_noise(9, source)
        assert sorted(noise[0].tolist()) == sorted([0, 1, 2] * 3)
        logits = prediction.logits(noise)
        unet = method.parts()[0](images).freeze(1).base.table
        for number, who in enumerate(noise[0].tolist()):
            same = torch.equal(logits[number], unet)
            assert same == (who == 0)


def test_runs_join_to_their_ensemble(folder: Path, lesion_folder: Path, tmp_path: Path) -> None:
    assert main(["combine", str(folder / "a"), str(folder / "b"), str(folder / "p"), "--out", str(tmp_path / "e")]) == 0
    run = load_run(tmp_path / "e")
    images = torch.randn(2, 1, 36, 36)
    with torch.no_grad():
        joined, alone = (
            run.method.parts()[1](images).freeze(1).mean(),
            load_run(folder / "b").method(images).freeze(1).mean(),
        )
    assert torch.equal(joined, alone)
    combine_runs([tmp_path / "e", folder / "a"], tmp_path / "more")
    assert len(load_run(tmp_path / "more").method.parts()) == 4
    assert main(["evaluate", str(tmp_path / "more"), str(lesion_folder), "--samples", "4"]) == 0


def test_what_does_not_fit_is_refused(folder: Path, lesion_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two"):
        combine_runs([folder / "a"], tmp_path / "one")
    train_run(plan("unet", channels=(4, 6), center_crop=24), open_data(lesion_folder), tmp_path / "cropped")
    with pytest.raises(InputError, match="differ in their preprocessing"):
        combine_runs([folder / "a", tmp_path / "cropped"], tmp_path / "two")
    with pytest.raises(InputError, match="holds something"):
        combine_runs([folder / "a", folder / "b"], folder / "p")
    with pytest.raises(ValueError, match="members are other methods"):
        build_method("ensemble", members=("ensemble",))


def test_joined_runs_cannot_be_trained_on(
    folder: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    combine_runs([folder / "a", folder / "b"], tmp_path / "e")
    before = (tmp_path / "e" / "weights.safetensors").read_bytes()
    arguments = ["train", str(lesion_folder), "--method", "ensemble", "--out", str(tmp_path / "e"), "--resume"]
    assert main([*arguments, "--max-steps", "4"]) == 2
    assert "joined" in capsys.readouterr().err
    assert (tmp_path / "e" / "weights.safetensors").read_bytes() == before


def test_mistakes_in_the_settings_of_members_are_named() -> None:
    with pytest.raises(InputError, match="did you mean unet"):
        build_method("ensemble", member_settings={"unett": {"channels": (4, 6)}})
    with pytest.raises(InputError, match=r"member 0 \(unet\): setting chanels"):
        build_method("ensemble", member_settings={"unet": {"chanels": (4, 6)}})
    method = build_method("ensemble", members=("unet", "unet"), member_settings={1: {"channels": (4, 6)}})
    assert [part.config.channels for part in method.parts()] == [(32, 64, 128, 192), (4, 6)]


def test_members_use_all_steps_that_they_share() -> None:
    config = TrainingConfig(max_steps=11, max_minutes=2.0)
    shares = [shared_budget(config, 4, number) for number in range(4)]
    assert sum(share.max_steps or 0 for share in shares) == 11
    assert {share.max_minutes for share in shares} == {0.5}
    with pytest.raises(InputError, match="at least 12"):
        shared_budget(config, 12, 0)
