"""The run folder: one writer at a time, and nothing is replaced before the new stands, or that is no run."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from plurimask.data import DataSource
from plurimask.data.worlds.lesions import lesion_source
from plurimask.errors import InputError
from plurimask.method import TrainingStep
from plurimask.methods.unet import UNet
from plurimask.runs import staging
from plurimask.runs.combine import combine_runs
from plurimask.runs.folder import RUN_FILES, RunWriter, mend_run
from plurimask.runs.load import load_run
from plurimask.runs.lock import LOCK_FILE, FolderLock
from plurimask.runs.plan import Plan
from plurimask.runs.record import read_record
from plurimask.runs.train import train_run

TINY: dict[str, Any] = {
    "channels": (4, 6),
    "batch_size": 2,
    "max_steps": 4,
    "num_validations": 2,
    "validation_samples": 2,
}


@pytest.fixture(scope="module")
def source() -> DataSource:
    return lesion_source(num_train=7, num_val=2, seed=1, size=32)


def train(source: DataSource, folder: Path, seed: int = 0, **settings: Any) -> dict[str, Any]:
    how = {name: settings.pop(name) for name in ("resume", "overwrite") if name in settings}
    return train_run(Plan("unet", settings={**TINY, **settings}, seed=seed), source, folder, **how)


def tree(folder: Path) -> dict[str, str]:
    """Each file with a hash of its content, each folder and link with what it is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = path.readlink() if path.is_symlink() else "" if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(folder))] = hashlib.sha256(repr(content).encode()).hexdigest()
    return found


# ---- one at a time ------------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from plurimask.runs.lock import LOCK_FILE, FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process writes into the folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_a_dead_one_holds_nothing(source: DataSource, tmp_path: Path) -> None:
    train(source, tmp_path / "run")
    before = tree(tmp_path / "run")
    with held(tmp_path / "run") as process:
        for how in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(InputError, match=rf"process {process.pid} on .* is writing into it"):
                train(source, tmp_path / "run", max_steps=6, **how)
        with pytest.raises(InputError, match="is writing into it"):
            combine_runs([tmp_path / "run", tmp_path / "run"], tmp_path / "run", overwrite=True)
        assert {name: value for name, value in tree(tmp_path / "run").items() if name != LOCK_FILE} == before
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "run" / LOCK_FILE).exists()
    assert train(source, tmp_path / "run", max_steps=6, resume=True)["steps"] == 6
    assert tree(tmp_path / "run").keys() == before.keys()


def test_where_files_cannot_be_locked_the_process_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    with held(tmp_path) as process:
        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(InputError, match="is writing into it"), FolderLock(tmp_path):
            pass
        process.kill()
        process.wait()
        with FolderLock(tmp_path):
            pass
    lock = tmp_path / LOCK_FILE
    lock.write_text(json.dumps({"host": "elsewhere", "process": 1}))
    with pytest.raises(InputError, match=rf"process 1 on elsewhere .* remove .*{LOCK_FILE}"), FolderLock(tmp_path):
        pass


def test_a_folder_that_was_made_for_nothing_goes_again(source: DataSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run there"):
        train(source, tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="at least 5"):
        own = {"members": ("unet",) * 5, "max_steps": 3}
        train_run(Plan("ensemble", settings=own), source, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# ---- replacing ----------------------------------------------------------------------------------------------------


def test_a_new_run_that_fails_leaves_the_old_one(
    source: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(source, tmp_path / "run")
    before = tree(tmp_path / "run")
    with pytest.raises(InputError, match="give at least 4"):
        train_run(Plan("ensemble", settings={"max_steps": 2}), source, tmp_path / "run", overwrite=True)
    assert tree(tmp_path / "run") == before

    def after_step(self: UNet, step: TrainingStep) -> None:
        for parameter in self.parameters():
            parameter.data.fill_(torch.nan)

    monkeypatch.setattr(UNet, "after_step", after_step)
    with pytest.raises(InputError, match="step 1"):
        train(source, tmp_path / "run", seed=5, overwrite=True)
    assert tree(tmp_path / "run") == before
    with pytest.raises(InputError, match="step 1"):
        train(source, tmp_path / "new", seed=5)
    assert not (tmp_path / "new").exists()


def test_a_new_run_takes_the_place_of_the_old_one_with_its_first_checkpoint(
    source: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train(source, out)
    elsewhere = tmp_path / "elsewhere"
    (out / "checkpoints").rename(elsewhere)
    (out / "checkpoints").symlink_to(elsewhere)
    (out / "notes.txt").write_text("mine")
    far, seen = tree(elsewhere), []

    def after_step(self: UNet, step: TrainingStep) -> None:
        seen.append(read_record(out).seed)

    monkeypatch.setattr(UNet, "after_step", after_step)
    train(source, out, seed=5, overwrite=True)
    assert seen == [0, 0, 5, 5]
    assert tree(elsewhere) == far
    assert not (out / "checkpoints").is_symlink()
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    train(source, tmp_path / "fresh", seed=5)
    assert tree(out).keys() == tree(tmp_path / "fresh").keys()
    assert (out / "weights.safetensors").read_bytes() == (tmp_path / "fresh" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("renames", range(8))
def test_a_swap_that_is_cut_short_is_ended_by_the_next_command(
    source: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    out, new = tmp_path / "run", tmp_path / "new"
    for folder, seed in ((out, "old"), (new, "new")):
        (folder / "checkpoints").mkdir(parents=True)
        for name in ("run.json", "checkpoints/last.ckpt"):
            (folder / name).write_text(seed)
    (out / "weights.safetensors").write_text("old")
    (new / "metrics.csv").write_text("new")
    before, after = tree(out), tree(new)
    new.rename(out / staging.NEW)
    original, done = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        if len(done) == renames:
            raise RuntimeError("power cut")
        done.append(self)
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    place = staging.Staging(out, RUN_FILES)
    with pytest.raises(RuntimeError, match="power cut"):
        place.settle()
    monkeypatch.setattr(Path, "rename", original)
    mend_run(out)
    assert tree(out) == (after if renames else before)


def test_what_a_killed_process_had_begun_is_removed(tmp_path: Path) -> None:
    """From a run; in any other folder a file may be anyone's, whatever its name."""
    run, other = tmp_path / "run", tmp_path / "other"
    mine = (".env.12.txt", ".last.ckpt.backup", "checkpoints/best.safetensors", ".old/.new", ".lock", "checkpoints")
    begun = (".run.json.4711.0a1b2c3d", "checkpoints/.last.ckpt.1.ffffffff")
    for folder in (run, other):
        for name in (*mine[:-1], *begun):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("mine")
        (folder / staging.NEW).mkdir()
    (run / "run.json").write_text('{"format": 1, "method": "unet", "config": {}}')
    mend_run(run)
    assert tree(run).keys() == {*mine, ".old", "run.json"}
    mend_run(other)
    assert tree(other).keys() == {*mine, *begun, ".old"}


@pytest.mark.parametrize("content", ["", "[]", '{"format": 3}', '{"name": "of another program"}', None])
def test_what_is_no_run_is_never_replaced(source: DataSource, tmp_path: Path, content: str | None) -> None:
    train(source, tmp_path / "a")
    out = tmp_path / "mine"
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints" / "precious.txt").write_text("mine")
    if content is not None:
        (out / "run.json").write_text(content)
    before = tree(out)
    with pytest.raises(InputError, match="nothing but runs"):
        train(source, out, overwrite=True)
    with pytest.raises(InputError, match="nothing but runs"):
        combine_runs([tmp_path / "a", tmp_path / "a"], out, overwrite=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written into"), RunWriter(tmp_path / "file", overwrite=True):
        pass
    assert tree(out) == before


# ---- one identity -------------------------------------------------------------------------------------------------


def test_weights_and_record_of_two_runs_are_not_taken_for_one(source: DataSource, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(source, tmp_path / str(seed), seed=seed)
    one, other = tmp_path / "0", tmp_path / "1"
    assert read_record(one).identity != read_record(other).identity
    for name in ("checkpoints/last.ckpt", "checkpoints/best.safetensors", "weights.safetensors"):
        kept = (one / name).read_bytes()
        (one / name).write_bytes((other / name).read_bytes())
        with pytest.raises(InputError, match="of another run than"):
            load_run(one) if name.startswith("weights") else train(source, one, resume=True)
        (one / name).write_bytes(kept)
    assert load_run(one).record.seed == 0
    combine_runs([one, other], tmp_path / "both")
    combine_runs([one, one], tmp_path / "twice")
    assert read_record(tmp_path / "both").identity != read_record(tmp_path / "twice").identity
    load_run(tmp_path / "both")


def test_two_trainings_alike_write_the_same_bytes(source: DataSource, tmp_path: Path) -> None:
    for name in ("one", "other"):
        train(source, tmp_path / name)
    assert (tmp_path / "one/weights.safetensors").read_bytes() == (tmp_path / "other/weights.safetensors").read_bytes()


def test_a_run_is_not_continued_on_other_data(source: DataSource, tmp_path: Path) -> None:
    train(source, tmp_path / "run")
    before = tree(tmp_path / "run")
    other = lesion_source(num_train=7, num_val=2, seed=1, size=36)  # the same names
    for split in ("train", "val"):
        assert list(other.splits[split].names) == list(source.splits[split].names)
        mixed = DataSource(source.description, {**source.splits, split: other.splits[split]}, drawn=False)
        with pytest.raises(InputError, match=f"trained on other data: images, masks or names differ in {split}"):
            train(mixed, tmp_path / "run", resume=True, max_steps=6)
    alone = DataSource(source.description, {"train": source.splits["train"]}, drawn=False)
    with pytest.raises(InputError, match="differ in val"):
        train(alone, tmp_path / "run", resume=True)
    assert tree(tmp_path / "run") == before


@pytest.mark.parametrize("name", ["log", "keeping"])
def test_what_no_checkpoint_holds_is_refused_without_a_warning_of_torch(
    source: DataSource, tmp_path: Path, recwarn: pytest.WarningsRecorder, name: str
) -> None:
    train(source, tmp_path / "run")
    path = tmp_path / "run/checkpoints/last.ckpt"
    torch.save({**torch.load(path, weights_only=True), name: torch.zeros(3)}, path)
    recwarn.clear()
    with pytest.raises(InputError, match="cannot be continued from"):
        train(source, tmp_path / "run", resume=True, max_steps=6)
    assert [str(one.message) for one in recwarn if "index" in str(one.message)] == []


def test_a_resume_that_fails_leaves_the_budget(source: DataSource, tmp_path: Path) -> None:
    train(source, tmp_path / "run")
    (tmp_path / "run/checkpoints/last.ckpt").write_bytes(b"nothing")
    before = tree(tmp_path / "run")
    with pytest.raises(InputError, match="cannot be continued from"):
        train(source, tmp_path / "run", resume=True, max_steps=6)
    assert tree(tmp_path / "run") == before
