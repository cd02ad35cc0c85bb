"""Training: what is learnt, kept, resumed and refused."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.errors import InputError
from plurimask.method import TrainingStep
from plurimask.methods.probabilistic_unet import ProbabilisticUNet
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan
from plurimask.runs.record import read_record
from plurimask.runs.train import train_run
from plurimask.training import fit
from plurimask.training.batches import TrainingBatches, TrainingData
from plurimask.training.checkpoint import TrainingJob
from plurimask.training.config import TrainingConfig

TINY: dict[str, Any] = {
    "channels": (6, 8),
    "batch_size": 3,
    "max_steps": 12,
    "num_validations": 3,
    "validation_samples": 4,
    "warmup_steps": 2,
}


@pytest.fixture
def source() -> Any:
    return lesion_source(num_train=11, num_val=4, seed=1, size=36)


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_holds_what_is_needed_to_use_it(source: Any, tmp_path: Path, precision: str) -> None:
    outcome = train_run(Plan("probabilistic-unet", settings=TINY, seed=4), source, tmp_path / "run")
    assert outcome["steps"] == 12
    assert not outcome["stopped"]
    record = read_record(tmp_path / "run")
    assert record.seed == 4
    assert record.config["channels"] == [6, 8]
    assert record.split is None
    rows = metrics(tmp_path / "run")
    assert {"step", "minutes", "learning_rate", "loss", "reconstruction", "kl", "val_ged"} <= set(rows[0])
    assert all(0 <= float(row["val_reconstruction_iou"]) <= 1 for row in rows if row["val_ged"])
    assert sum(row["val_ged"] != "" for row in rows) == 3
    kept = [float(row["val_ged"]) for row in rows if row["val_ged"] and float(row["val_kept"])]
    assert kept[-1] == pytest.approx(outcome["best_ged"])
    assert record.steps == 12
    assert record.undertrained
    assert record.plan is None
    (tmp_path / "run").rename(tmp_path / "moved")
    run = load_run(tmp_path / "moved")
    assert not run.method.training
    assert run.method(torch.randn(2, 1, 30, 22)).sample(5).shape == (5, 2, 30, 22)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_killed_run_continues_as_if_nothing_had_happened(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema_decay: float | None
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every step
    plan = Plan("probabilistic-unet", settings={**TINY, "ema_decay": ema_decay}, seed=2)
    train_run(plan, source, tmp_path / "whole")

    original = ProbabilisticUNet.after_step
    calls = []

    def die(self: ProbabilisticUNet, step: TrainingStep) -> None:
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError("power cut")

    monkeypatch.setattr(ProbabilisticUNet, "after_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        train_run(plan, source, tmp_path / "cut")
    monkeypatch.setattr(ProbabilisticUNet, "after_step", original)
    outcome = train_run(plan, source, tmp_path / "cut", resume=True)
    assert outcome["steps"] == 12
    whole, cut = (torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "cut"))
    for part in ("method", "average"):
        for key, value in (whole[part] or {}).items():
            torch.testing.assert_close(cut[part][key], value, atol=1e-6, rtol=1e-5, msg=key)
    assert cut["elapsed"] > 0
    steps = [int(row["step"]) for row in metrics(tmp_path / "cut")]
    assert steps == sorted(steps) == [int(row["step"]) for row in metrics(tmp_path / "whole")]
    assert torch.load(tmp_path / "cut/checkpoints/last.ckpt", weights_only=True)["validations"] == 3


def test_resume_without_a_checkpoint_starts_from_the_beginning(source: Any, tmp_path: Path) -> None:
    plan = Plan("unet", settings=TINY)
    train_run(plan, source, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    assert train_run(plan, source, tmp_path / "run", resume=True)["steps"] == 12


def test_a_finished_run_is_not_trained_again(source: Any, tmp_path: Path) -> None:
    plan = Plan("unet", settings=TINY)
    train_run(plan, source, tmp_path / "run")
    before = load_file(tmp_path / "run" / "weights.safetensors")
    assert train_run(plan, source, tmp_path / "run", resume=True)["steps"] == 12
    after = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_resumed_run_may_get_more_time_but_no_other_settings(source: Any, tmp_path: Path) -> None:
    train_run(Plan("unet", settings=TINY, seed=3), source, tmp_path / "run")
    longer = Plan("unet", settings={**TINY, "max_steps": 15}, seed=3)
    assert train_run(longer, source, tmp_path / "run", resume=True)["steps"] == 15
    assert read_record(tmp_path / "run").training.max_steps == 15
    for plan, name in [
        (Plan("unet", settings={"channels": (5, 8)}, seed=3), "channels"),
        (Plan("unet", settings={"batch_size": 2}, seed=3), "batch_size"),
        (Plan("unet", seed=4), "seed"),
        (Plan("probabilistic-unet", seed=3), "method"),
    ]:
        with pytest.raises(InputError, match=f"{name} would change"):
            train_run(plan, source, tmp_path / "run", resume=True)


def test_an_existing_run_is_kept_unless_told_otherwise(source: Any, tmp_path: Path) -> None:
    plan = Plan("unet", settings=TINY)
    train_run(plan, source, tmp_path / "run")
    with pytest.raises(InputError, match="--overwrite"):
        train_run(plan, source, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train_run(plan, source, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_loss_that_is_not_a_number_stops_training_and_is_named(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ProbabilisticUNet.loss

    def broken(self: ProbabilisticUNet, *args: Any) -> Any:
        loss = original(self, *args)
        return loss._replace(total=loss.total * torch.nan, terms={**loss.terms, "kl": loss.terms["kl"] * torch.nan})

    monkeypatch.setattr(ProbabilisticUNet, "loss", broken)
    with pytest.raises(InputError, match=r"kl became nan at step 0"):
        train_run(Plan("probabilistic-unet", settings=TINY), source, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_early_stopping_ends_a_training_that_does_not_improve(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ProbabilisticUNet, "parameter_groups", lambda self, rate: [{"params": [*self.parameters()], "lr": 0.0}]
    )
    settings = {**TINY, "max_steps": 200, "num_validations": 100, "early_stopping": 2}
    outcome = train_run(Plan("probabilistic-unet", settings=settings), source, tmp_path / "run")
    assert outcome["steps"] == 6  # the first validation is the best, two are not better


def test_minutes_end_a_training_and_lead_the_learning_rate(source: Any, tmp_path: Path) -> None:
    settings = {**TINY, "max_steps": None, "max_minutes": 0.03, "num_validations": 1}
    outcome = train_run(Plan("unet", settings=settings), source, tmp_path / "run")
    assert outcome["minutes"] >= 0.03
    rates = [float(row["learning_rate"]) for row in metrics(tmp_path / "run")]
    assert rates[-1] < 0.1 * max(rates)


def test_training_without_validation_images_keeps_the_last_weights(source: Any, tmp_path: Path) -> None:
    alone = type(source)(source.description, {"train": source.splits["train"]}, drawn=False)
    outcome = train_run(Plan("unet", settings=TINY), alone, tmp_path / "run")
    assert outcome["best_ged"] is None
    assert load_run(tmp_path / "run").method(torch.zeros(1, 1, 20, 14)).sample(2).shape == (2, 1, 20, 14)


def test_the_moving_average_forgets_the_first_weights(source: Any, tmp_path: Path) -> None:
    """Against the weights after each step, averaged by hand; counters are the last."""
    weights: list[dict[str, torch.Tensor]] = []

    class Watched(ProbabilisticUNet):
        def __init__(self, config: ProbabilisticUNet.Config) -> None:
            super().__init__(config)
            self.register_buffer("num_steps", torch.tensor(0))

        def after_step(self, step: TrainingStep) -> None:
            self.num_steps += 1
            weights.append({name: value.clone() for name, value in self.state_dict().items()})

    method = Watched(ProbabilisticUNet.Config(channels=(4, 5)))
    data = TrainingData(source.splits["train"], None, Preprocessing(mean=(0.0,), std=(1.0,)), (1,))
    settings: dict[str, Any] = {"schedule": "piecewise", "drops": ((0.99, 0.5),), "warmup_steps": 0}  # a constant rate
    config = TrainingConfig(max_steps=30, batch_size=2, ema_decay=0.7, num_validations=1, **settings)
    fit.fit(method, data, config, TrainingJob(tmp_path))
    mean = weights[0]
    for step, now in enumerate(weights[1:], start=1):
        decay = min(0.7, (1 + step) / (10 + step))
        mean = {name: decay * mean[name] + (1 - decay) * value for name, value in now.items()}
    kept = load_file(tmp_path / "weights.safetensors")
    assert int(kept.pop("num_steps")) == 30
    for name, value in kept.items():
        torch.testing.assert_close(value, mean[name], msg=name)
    assert any(float((value - weights[-1][name]).abs().max()) > 1e-3 for name, value in kept.items())


def test_learning_rate_schedules() -> None:
    cosine = TrainingConfig(max_steps=100, learning_rate=1e-3, final_learning_rate=1e-5, warmup_steps=4)
    assert cosine.learning_rate_factor(0.0, 0) == pytest.approx(0.25)
    assert cosine.learning_rate_factor(0.5, 50) == pytest.approx(0.505)
    assert cosine.learning_rate_factor(1.0, 99) == pytest.approx(0.01)
    paper = TrainingConfig(
        max_steps=6, learning_rate=1e-4, final_learning_rate=1e-6, schedule="exponential-steps", warmup_steps=0
    )
    rates = [1e-4 * paper.learning_rate_factor(step / 6, step) for step in range(6)]
    assert rates == pytest.approx([1e-4 * 100 ** (-k / 5) for k in range(6)])


def test_an_epoch_is_a_permutation_shared_out_among_processes(source: Any) -> None:
    data = TrainingData(source.splits["train"], None, Preprocessing(mean=(0.0,), std=(1.0,)), (1,))
    config = TrainingConfig(max_steps=1, batch_size=2)
    seen = []
    for step in range(6):
        for rank in range(3):
            seen += TrainingBatches(data, config, 7, 0, rank, 3)._indices(step)
    assert sorted(seen[:11]) == list(range(11))
    assert sorted(seen[11:22]) == list(range(11))
    assert seen[:11] != seen[11:22]


COMMAND = [sys.executable, "-m", "plurimask", "train"]
LONG = "--method unet --channels 6 8 --batch-size 3 --max-steps 400 --num-validations 200 --validation-images 2"


def started(folder: Path, out: Path) -> subprocess.Popen[str]:
    """A training that is under way and has left its first checkpoint."""
    process = subprocess.Popen(
        [*COMMAND, str(folder), *LONG.split(), "--out", str(out)], stderr=subprocess.PIPE, text=True
    )
    while not (out / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_sigkill_and_resume(lesion_folder: Path, tmp_path: Path) -> None:
    process = started(lesion_folder, tmp_path / "run")
    process.kill()
    process.communicate()
    before = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert 0 < before["step"] < 400
    done = subprocess.run(
        [*COMMAND, str(lesion_folder), *LONG.split(), "--out", str(tmp_path / "run"), "--resume"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    after = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert after["step"] == 400
    assert after["elapsed"] > before["elapsed"]
    steps = [int(row["step"]) for row in metrics(tmp_path / "run")]
    assert steps == sorted(steps)
    assert sum(row["val_ged"] != "" for row in metrics(tmp_path / "run")) == 200


@pytest.mark.slow
def test_ctrl_c_saves_and_says_where(lesion_folder: Path, tmp_path: Path) -> None:
    process = started(lesion_folder, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "saved in" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"] < 400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "own"),
    [("probabilistic-unet", "--channels 6 8"), ("hierarchical-probabilistic-unet", "--channels 6 8 --latent-dims 1")],
)
def test_two_processes_train_one_model(lesion_folder: Path, tmp_path: Path, method: str, own: str) -> None:
    arguments = f"--method {method} {own} --batch-size 2 --max-steps 6 --num-validations 2"
    more = ["--devices", "2", "--accelerator", "cpu", "--out", str(tmp_path / "run")]
    done = subprocess.run([*COMMAND, str(lesion_folder), *arguments.split(), *more], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_record(tmp_path / "run").method == method
    assert sum(row["val_ged"] != "" for row in metrics(tmp_path / "run")) == 2
    assert load_run(tmp_path / "run").method(torch.zeros(1, 1, 20, 14)).sample(2).shape == (2, 1, 20, 14)


TWO = """
import sys
from pathlib import Path

import torch

from plurimask import Hardware, Plan, open_data, train_run
from plurimask.methods.probabilistic_unet import ProbabilisticUNet

folder, out = map(Path, sys.argv[1:])


def after_step(self, step):
    rank = torch.distributed.get_rank()
    torch.save({"weights": self.state_dict(), "draw": step.generator.get_state()}, out / f"{rank}-{step.index}.pt")


ProbabilisticUNet.after_step = after_step
settings = {"channels": (4, 6), "batch_size": 2, "max_steps": 3, "num_validations": 1, "warmup_steps": 0}
train_run(Plan("probabilistic-unet", settings=settings), open_data(folder), out / "run", hardware=Hardware("cpu", 2))
"""


@pytest.mark.slow
def test_two_processes_draw_differently_and_make_the_same_step(lesion_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, str(tmp_path / "two.py"), str(lesion_folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for step in range(3):
        one, other = (torch.load(tmp_path / f"{rank}-{step}.pt") for rank in range(2))
        assert not torch.equal(one["draw"], other["draw"])
        for name, value in one["weights"].items():
            assert torch.equal(value, other["weights"][name]), name
    first, last = (torch.load(tmp_path / f"0-{step}.pt")["weights"] for step in (0, 2))
    assert any(not torch.equal(first[name], last[name]) for name in first)
