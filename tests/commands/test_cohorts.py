"""Cohorts: what is finished is skipped, parts and workers give what one call gives, to the last bit."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from processes import start, tree, workers_of

from plurimask.commands.main import main
from plurimask.data.worlds.lesions import lesion_source, write_folder

TINY = "--channels 4 6 --batch-size 2 --max-steps 3 --num-validations 1 --validation-samples 2".split()  # noqa: SIM905
NUM_IMAGES = 7


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # rounding depends on the number of threads


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "data"
    write_folder(lesion_source(num_train=4, num_val=NUM_IMAGES, seed=5, size=36), folder)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort-run") / "run"
    assert main(["train", str(data), "--method", "probabilistic-unet", *TINY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def images(data: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; times of change are kept."""
    return Path(shutil.copytree(data / "val" / "images", tmp_path / "images"))


def predict(run: Path, images: Path, out: Path, *more: str) -> int:
    return main(["predict", str(run), str(images), "--samples", "3", "--out", str(out), *more])


def changed(folder: Path, before: dict[str, int]) -> set[str]:
    """The folders of the images whose files were written since."""
    return {name for name, time_of in times(folder).items() if before.get(name) != time_of}


def times(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/finished.json")}


def test_finished_images_are_skipped_and_others_done(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p"
    assert predict(run, images, out) == 0
    whole, before = tree(out), times(out)
    names = sorted(path.stem for path in images.iterdir())
    assert sorted(before) == names and len(names) == NUM_IMAGES
    capsys.readouterr()
    assert predict(run, images, out) == 0
    assert f"{NUM_IMAGES} of {NUM_IMAGES} images are finished" in capsys.readouterr().err
    assert tree(out) == whole and not changed(out, before)

    shutil.rmtree(out / names[0])  # never begun
    (out / names[1] / "finished.json").unlink()  # not written to its end
    (out / names[1] / "mean.tif").write_bytes(b"half")
    (out / names[1] / ".mask.png.77.0123abcd").write_bytes(b"of a process that was killed")
    (out / names[2] / "sample-01.png").unlink()
    (out / names[3] / "finished.json").write_text("{damaged")
    image = next(images.glob(f"{names[4]}.*"))
    about = image.stat()
    os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    for page in ("index.html", "uncertainty.csv"):
        (out / page).unlink()
    assert predict(run, images, out) == 0
    said = capsys.readouterr().err
    assert f"2 of {NUM_IMAGES} images are finished" in said
    assert "2 whose predictions were not written to their end" in said
    assert "1 whose predictions have another image file now" in said and "1 whose predictions have lost a file" in said
    assert changed(out, before) == set(names[:5])
    os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert predict(run, images, out) == 0
    assert tree(out) == whole


def test_other_settings_are_refused_and_then_done_again(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p"
    assert predict(run, images, out) == 0
    whole = tree(out)
    capsys.readouterr()
    assert predict(run, images, out, "--seed", "1") == 2
    assert "predictions with seed 0, not 1" in capsys.readouterr().err
    assert tree(out) == whole
    assert predict(run, images, out, "--seed", "1", "--overwrite") == 0
    assert f"{NUM_IMAGES} whose predictions were made with other settings (seed)" in capsys.readouterr().err
    assert predict(run, images, tmp_path / "fresh", "--seed", "1") == 0
    assert tree(out) == tree(tmp_path / "fresh") != whole
    before = times(out)
    assert predict(run, images, out, "--seed", "1", "--overwrite") == 0  # permission, no order
    assert not changed(out, before)


def test_other_files_are_not_written_over(run: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert predict(run, images, out) == 2
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    assert predict(run, images, out, "--overwrite") == 0
    assert (out / "notes.txt").read_text() == "mine"


def test_a_new_image_leaves_the_others(run: Path, images: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    last = sorted(images.iterdir())[-1]
    last.rename(tmp_path / last.name)
    assert predict(run, images, out) == 0
    before = times(out)
    (tmp_path / last.name).rename(last)
    assert predict(run, images, out) == 0
    assert changed(out, before) == {last.stem}
    with (out / "uncertainty.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == NUM_IMAGES


@pytest.mark.parametrize("batch_size", ["1", "2"])
def test_parts_give_what_one_call_gives(run: Path, images: Path, tmp_path: Path, batch_size: str) -> None:
    out, more = tmp_path / "parts", ("--batch-size", batch_size)
    assert predict(run, images, tmp_path / "whole", *more) == 0
    for part in ("3/3", "1/3"):
        assert predict(run, images, out, *more, "--part", part) == 0
        assert not (out / "uncertainty.csv").exists() and not (out / "index.html").exists()
    number = len((out / "uncertainty.part-1-of-3.csv").read_text().splitlines()) - 1
    assert 2 <= number <= 4 and number == len(times(out)) - sum(
        len(table.read_text().splitlines()) - 1 for table in out.glob("uncertainty.part-3-*")
    )
    assert predict(run, images, out, *more, "--part", "2/3") == 0
    assert tree(out) == tree(tmp_path / "whole")


def test_parts_share_all_images_once() -> None:
    from plurimask.prediction.cohort import Part, blocks, indices_of, share

    for num_images, size, total in ((7, 1, 3), (100, 16, 5), (3, 1, 5), (20, 4, 5), (0, 1, 2)):
        everything = blocks(num_images, size)
        parts = [share(everything, Part(number, total)) for number in range(1, total + 1)]
        assert [index for part in parts for index in indices_of(part)] == list(range(num_images))
        counts = [len(part) for part in parts]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("words", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/4"])
def test_no_part(run: Path, images: Path, tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(run, images, tmp_path / "p", "--part", words) == 2
    assert "--part" in capsys.readouterr().err and not (tmp_path / "p").exists()


def test_more_parts_than_batches(run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(run, images, tmp_path / "p", "--batch-size", "4", "--part", "1/3") == 2
    assert "--batch-size 2 or less" in capsys.readouterr().err


# ---- evaluate -----------------------------------------------------------------------------------------------------


def evaluate(run: Path, data: Path, out: Path, *more: str) -> int:
    words = ["evaluate", str(run), str(data), "--samples", "3", "--batch-size", "2", "--out", str(out)]
    return main([*words, *more])


def outcome(out: Path) -> tuple[bytes, bytes]:
    return out.read_bytes(), out.with_suffix(".csv").read_bytes()


def test_an_evaluation_goes_on_where_it_was(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate(run, data, tmp_path / "whole.json") == 0
    assert not (tmp_path / "whole.parts").exists()
    out = tmp_path / "e.json"
    from plurimask.commands import evaluate_work

    once = evaluate_work.EvaluateWork.evaluate

    def broken(self: evaluate_work.EvaluateWork, block: range, *more: object) -> object:
        if block.start == 4:
            raise KeyboardInterrupt
        return once(self, block, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_work.EvaluateWork, "evaluate", broken)
        assert evaluate(run, data, out) == 130
    records = tmp_path / "e.parts" / "1-of-1.jsonl"
    assert len(records.read_text().splitlines()) == 1 + 4
    with records.open("a") as stream:
        stream.write('{"name": "torn')
    capsys.readouterr()
    assert evaluate(run, data, out) == 0
    assert f"4 of {NUM_IMAGES} images are evaluated already" in capsys.readouterr().err
    assert outcome(out) == outcome(tmp_path / "whole.json")
    assert not (tmp_path / "e.parts").exists()
    assert evaluate(run, data, out) == 2  # as ever: it holds an evaluation


def test_records_of_other_settings_or_files_are_not_used(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(data, tmp_path / "data"))
    out = tmp_path / "e.json"
    assert evaluate(run, own, out, "--part", "1/2") == 0
    mask = sorted((own / "val" / "masks").rglob("*.png"))[0]
    os.utime(mask, ns=(0, 1))
    capsys.readouterr()
    assert evaluate(run, own, out, "--part", "1/2") == 0
    assert "3 of 4 images are evaluated already" in capsys.readouterr().err
    assert evaluate(run, own, out, "--seed", "1") == 0
    assert "1 files of an evaluation with other settings" in capsys.readouterr().err
    assert evaluate(run, own, tmp_path / "fresh.json", "--seed", "1") == 0
    assert outcome(out) == outcome(tmp_path / "fresh.json")


def test_parts_of_an_evaluation(run: Path, data: Path, tmp_path: Path) -> None:
    assert evaluate(run, data, tmp_path / "whole.json") == 0
    out = tmp_path / "e.json"
    for part in ("2/3", "3/3"):
        assert evaluate(run, data, out, "--part", part) == 0
        assert not out.exists()
    for _ in range(2):  # the second call finds everything done
        assert evaluate(run, data, out, "--part", "1/3") == 0
        assert outcome(out) == outcome(tmp_path / "whole.json")
    assert main(["evaluate", str(run), str(data), "--part", "1/2"]) == 2


# ---- Dask ---------------------------------------------------------------------------------------------------------

LOCAL = ("--dask", "local[2]")


@pytest.mark.slow
def test_workers_give_what_one_process_gives(run: Path, images: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    words = ["--samples", "3"]
    for name, more in {"plain": [], "dask": [*LOCAL]}.items():
        done = start(["predict", str(run), str(images), *words, "--out", str(tmp_path / name), *more])
        assert done.wait() == 0, done.stdout.read()  # type: ignore[union-attr]
        out = tmp_path / f"{name}.json"
        done = start(["evaluate", str(run), str(data), *words, "--batch-size", "2", "--out", str(out), *more])
        assert done.wait() == 0, done.stdout.read()  # type: ignore[union-attr]
    assert tree(tmp_path / "dask") == tree(tmp_path / "plain")
    assert outcome(tmp_path / "dask.json") == outcome(tmp_path / "plain.json")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "client"])
def test_what_a_kill_ends_is_done_all_the_same(run: Path, data: Path, tmp_path: Path, victim: str) -> None:
    pytest.importorskip("distributed")
    many = tmp_path / "images"
    many.mkdir()
    for number in range(4):
        for path in (data / "val" / "images").iterdir():
            shutil.copy2(path, many / f"{path.stem}-{number}{path.suffix}")
    out = tmp_path / "p"
    words = ["predict", str(run), str(many), "--samples", "3", "--out"]
    process = start([*words, str(out), *LOCAL])
    while process.poll() is None and len(times(out)) < 3:
        time.sleep(0.02)
    if victim == "worker":
        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
    else:
        workers = workers_of(process.pid)
        process.kill()
        process.communicate()
        for worker in workers:  # they see by themselves that nobody asks any more
            while Path(f"/proc/{worker}").exists():
                time.sleep(0.05)
        assert len(times(out)) < 4 * NUM_IMAGES and not (out / "index.html").exists()
        assert predict(run, many, out) == 0
    plain = start([*words, str(tmp_path / "plain")])
    assert plain.wait() == 0
    assert tree(out) == tree(tmp_path / "plain")


def test_workers_of_one_machine_share_its_memory() -> None:
    from plurimask.files.memory import parse_memory
    from plurimask.prediction.workers import memory_of_each

    assert memory_of_each("local[4]", None) == parse_memory(None) // 4
    assert memory_of_each(None, None) == memory_of_each("tcp://head:8786", None) == parse_memory(None)
    assert memory_of_each("local[4]", "2GB") == 2 * 10**9


@pytest.mark.parametrize("words", ["local", "local[0]", "local[1000]", "nowhere", "localhost"])
def test_no_workers(run: Path, images: Path, tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(run, images, tmp_path / "p", "--dask", words) == 2
    assert "local[N]" in capsys.readouterr().err and not (tmp_path / "p").exists()


def test_an_error_on_a_worker_is_told_in_one_line(run: Path, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    broken = sorted(images.iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:-40])
    done = start(["predict", str(run), str(images), "--out", str(tmp_path / "p"), "--dask", "local[1]"])
    printed, _ = done.communicate()
    assert done.returncode == 2 and broken.name in printed and "Traceback" not in printed, printed
    assert np.all([json.loads(path.read_text())["row"] for path in (tmp_path / "p").glob("*/finished.json")])
