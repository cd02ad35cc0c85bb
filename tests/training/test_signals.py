"""Signals: what was begun is saved, the exit code says which it was, and what is continued is the unbroken training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from plurimask.commands import main as command_line
from plurimask.commands.main import main
from plurimask.files import writing as files_module
from plurimask.method import TrainingStep
from plurimask.methods.unet import UNet
from plurimask.training import signals
from plurimask.training.log import read_metrics

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]
TINY = ["--method", "unet", "--channels", "4", "6", "--batch-size", "2", "--max-steps", "9", "--num-validations", "3"]
TINY += ["--validation-images", "2", "--validation-samples", "2", "--ema-decay", "0.5", "--warmup-steps", "2"]


def train(folder: Path, out: Path, *more: str) -> int:
    return main(["train", str(folder), *TINY, "--out", str(out), *more])


@pytest.fixture(autouse=True)
def not_ignored() -> Iterator[None]:
    """Signals as a shell leaves them, also where the tests run under nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def whole(lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(lesion_folder, out) == 0
    return out


def at_step(number: int, patch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something once, within the step of this number."""
    done: list[int] = []

    def after_step(self: UNet, step: TrainingStep) -> None:
        if step.index == number and not done:
            done.append(number)
            act()

    patch.setattr(UNet, "after_step", after_step)


def send(*numbers: int) -> Callable[[], None]:
    return lambda: [os.kill(os.getpid(), number) for number in numbers] and None


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def same(one: Path, other: Path) -> None:
    """Two runs are the same to the bit: kept and last weights, optimiser, rows but for the time, and no file more."""
    assert files(one) == files(other)
    for name in ("weights.safetensors", "checkpoints/best.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    states = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (one, other)]
    for part in ("method", "average"):
        assert all(torch.equal(value, states[1][part][key]) for key, value in states[0][part].items())
    moments = [[value for kept in state["optimizer"]["state"].values() for value in kept.values()] for state in states]
    assert all(torch.equal(value, again) for value, again in zip(*moments, strict=True))
    times = ("minutes", "val_seconds")
    rows = [
        [{k: v for k, v in row.items() if k not in times} for row in read_metrics(run / "metrics.csv")]
        for run in (one, other)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_training_is_saved_and_continues_to_the_bit(
    whole: Path,
    lesion_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    at_step(3, monkeypatch, send(number))
    assert train(lesion_folder, tmp_path / "run") == 128 + number
    said = capsys.readouterr().err
    assert f"Stopped by {number.name} after 4 steps" in said
    assert "--resume" in said
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"] == 4
    assert train(lesion_folder, tmp_path / "run", "--resume") == 0
    same(whole, tmp_path / "run")


def test_a_validation_that_is_due_is_made_when_the_training_is_continued(
    whole: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(5, monkeypatch, send(signal.SIGINT))  # of nine, with a validation after every third
    assert train(lesion_folder, tmp_path / "run") == 130
    assert train(lesion_folder, tmp_path / "run", "--resume") == 0
    same(whole, tmp_path / "run")


def test_the_last_validation_is_made_too(
    whole: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(8, monkeypatch, send(signal.SIGTERM))
    assert train(lesion_folder, tmp_path / "run") == 143
    assert train(lesion_folder, tmp_path / "run", "--resume") == 0
    same(whole, tmp_path / "run")


def test_a_validation_is_broken_off_and_made_again(
    whole: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plurimask.training.progress import Display

    original, seen = Display.validating, []

    def validating(self: Display, done: int, total: int) -> None:
        original(self, done, total)
        seen.append(done)
        if len(seen) == 3:  # the first image of the second validation
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Display, "validating", validating)
    assert train(lesion_folder, tmp_path / "run") == 143
    assert len(seen) == 3
    assert train(lesion_folder, tmp_path / "run", "--resume") == 0
    same(whole, tmp_path / "run")


def test_a_second_signal_ends_at_once(
    whole: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "SAME_SECONDS", -1.0)
    at_step(4, monkeypatch, send(signal.SIGTERM, signal.SIGTERM))
    assert train(lesion_folder, tmp_path / "run") == 143
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"] == 3  # that of the validation
    assert files(tmp_path / "run") == files(whole)
    assert train(lesion_folder, tmp_path / "run", "--resume") == 0
    same(whole, tmp_path / "run")


def test_a_second_signal_while_saving_leaves_the_checkpoint_before(
    whole: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "SAME_SECONDS", -1.0)
    original, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        original(descriptor)
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        synced.append(name)
        if ".last.ckpt." in name and sum(".last.ckpt." in one for one in synced) == 2:
            send(signal.SIGINT, signal.SIGINT)()

    monkeypatch.setattr(os, "fsync", fsync)
    assert train(lesion_folder, tmp_path / "run") == 130
    monkeypatch.setattr(os, "fsync", original)
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"] == 3
    assert files(tmp_path / "run") == files(whole)
    assert train(lesion_folder, tmp_path / "run", "--resume") == 0
    same(whole, tmp_path / "run")


def test_what_follows_a_warning_or_comes_twice_at_one_moment_is_no_second_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with signals.stopping() as has_come:
        assert not has_come()
        send(signal.SIGTERM, signal.SIGTERM)()
        assert has_come()
    monkeypatch.setattr(signals, "SAME_SECONDS", -1.0)
    with signals.stopping() as has_come:
        send(signal.SIGUSR1, signal.SIGTERM)()
        assert has_come()
        assert signals.exit_code() == 143
        with pytest.raises(signals.Interrupted):
            send(signal.SIGHUP)()


def test_a_signal_that_nobody_was_told_of_ends_the_block() -> None:
    with pytest.raises(signals.Interrupted), signals.stopping():
        send(signal.SIGTERM)()


@pytest.mark.parametrize("stopping", [False, True])
def test_a_signal_while_an_object_is_freed_is_not_lost(
    stopping: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python ignores what is raised there, and prints it."""
    monkeypatch.setattr(signals, "SAME_SECONDS", 0.25 if not stopping else -1.0)
    free, calls = send(*(signal.SIGTERM,) * (1 + stopping)), []

    class Freed:
        def __del__(self) -> None:
            calls.append("freed")
            free()
            calls.append("not ended at once")  # never reached: the exception arose, and was ignored

    with pytest.raises(signals.Interrupted), signals.ending(), signals.stopping() if stopping else nullcontext():
        one = Freed()
        del one
        assert calls == ["freed"]
        time.sleep(5)
        pytest.fail("lost")
    assert signals.exit_code() == 143
    assert capsys.readouterr().err == ""


def test_other_exceptions_that_python_ignores_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: told.append(ignored.exc_value))

    class Freed:
        def __del__(self) -> None:
            raise ValueError

    with signals.ending():
        one = Freed()
        del one
    assert [type(value) for value in told] == [ValueError]


def test_what_is_ignored_stays_so_but_for_ctrl_c() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        with signals.stopping() as has_come:
            send(signal.SIGHUP)()
            assert not has_come()
            send(signal.SIGINT)()
            assert has_come()
        assert signal.getsignal(signal.SIGHUP) == signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_ensemble_continues_to_the_bit(lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("members: [unet, unet]\nmember_settings: {unet: {channels: [4, 6]}}\n")
    arguments = ["train", str(lesion_folder), "--method", "ensemble", "--config", str(config), "--batch-size", "2"]
    arguments += ["--max-steps", "8", "--num-validations", "2", "--validation-images", "2", "--validation-samples", "2"]
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    calls: list[int] = []

    def after_step(self: UNet, step: TrainingStep) -> None:
        calls.append(step.index)
        if len(calls) in (2, 7):  # of the first and of the second member
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(UNet, "after_step", after_step)
    for more in ([], ["--resume"]):
        assert main([*arguments, "--out", str(tmp_path / "cut"), *more]) == 143
    assert main([*arguments, "--out", str(tmp_path / "cut"), "--resume"]) == 0
    assert files(tmp_path / "whole") == files(tmp_path / "cut")
    for path in (tmp_path / "whole").rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes()


@pytest.mark.parametrize("command", ["evaluate", "report", "predict"])
def test_other_commands_end_at_once_and_leave_no_file(
    whole: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def fsync(descriptor: int) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)

    def discard(temporary: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # twice, as `timeout` sends it
        original(temporary)

    original = files_module._discard
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files_module, "_discard", discard)
    data, out = {"predict": (lesion_folder / "val/images", "p")}.get(command, (lesion_folder, f"{command}.json"))
    out = {"report": "report.html"}.get(command, out)
    assert main([command, str(whole), str(data), "--out", str(tmp_path / out), "--samples", "2"]) == 143
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert left == (["evaluate.parts/1-of-1.jsonl"] if command == "evaluate" else [])  # from which it goes on


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--num-workers", "2"], ["--devices", "2", "--accelerator", "cpu"]])
def test_a_signal_to_the_whole_job_is_one_to_the_training(lesion_folder: Path, tmp_path: Path, more: list[str]) -> None:
    """Schedulers send it to all processes: those that read for the training, and those that train with it."""
    arguments = ["train", str(lesion_folder), *TINY, "--max-steps", "900", "--num-validations", "300", *more]
    command = [sys.executable, "-m", "plurimask", *arguments, "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (tmp_path / "run/checkpoints/last.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    assert "Stopped by SIGTERM" in errors
    assert 0 < torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"] < 900
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize("kind", [RecursionError, ImportError, OSError, MemoryError])
def test_what_a_signal_broke_off_says_so_in_its_own_way(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    class Importing:
        @staticmethod
        def main(arguments: list[str]) -> int:
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
            raise kind

    monkeypatch.setattr(command_line, "import_module", lambda name: Importing)
    assert main(["check"]) == 143
