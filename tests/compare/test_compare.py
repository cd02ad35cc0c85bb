"""Several methods side by side: training, continuing, evaluating, and what is written."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from plurimask.commands.main import main
from plurimask.compare.contenders import Contender, train_contenders
from plurimask.compare.measure import numbers_of_samples
from plurimask.compare.table import markdown_table
from plurimask.data.worlds.lesions import lesion_source, write_folder
from plurimask.errors import InputError
from plurimask.methods.unet import UNet
from plurimask.metrics.energy_distance import energy_distance, ged_of_fewer, image_distances
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan, settings_for
from plurimask.runs.staging import NEW

FAST = ["--max-steps", "2", "--num-validations", "1", "--validation-images", "2", "--batch-size", "2"]


def compare(folder: Path, out: Path, *more: str) -> int:
    return main(["compare", str(folder), "--out", str(out), "--samples", "4", *FAST, *more])


@pytest.fixture(scope="module")
def done(lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of three methods."""
    out = tmp_path_factory.mktemp("compare") / "cmp"
    assert compare(lesion_folder, out, "--methods", "unet", "m-heads", "probabilistic-unet") == 0
    return out


def test_table_figures_and_page_are_written(done: Path) -> None:
    content = json.loads((done / "table.json").read_text())
    assert [row["method"] for row in content["methods"]] == ["unet", "m-heads", "probabilistic-unet"]
    for row in content["methods"]:
        alone = json.loads((done / "evaluations" / f"{row['method']}.json").read_text())
        assert row["ged"] == alone["ged"]
        assert row["steps"] == 2
        assert row["note"] == "undertrained"
        with (done / "evaluations" / f"{row['method']}.csv").open(newline="") as stream:
            pairs = [
                (float(one["ged"]), float(one["ged_oracle"])) for one in csv.DictReader(stream) if one["ged_oracle"]
            ]
        assert row["ged_ratio"] == pytest.approx(sum(ged for ged, _ in pairs) / sum(oracle for _, oracle in pairs))
        assert row["curve"][-1][0] == 4
        assert row["curve"][-1][1] == pytest.approx(row["ged"])
        assert (row["reconstruction_iou"] is None) == (row["method"] != "probabilistic-unet")
        assert (row["error_auroc_spread"] is None) == (row["method"] == "unet")
        assert row["class_iou"] == alone["class_iou"]
        assert list(row["class_iou"]) == ["background", "foreground"]
        assert row["mean_class_iou"] == row["IoU of foreground"] == alone["class_iou"]["foreground"]
        assert alone["subset_b"]["class_dice"].keys() == alone["class_dice"].keys()
    table = (done / "table.md").read_text()
    assert table.count("\n| ") == 3
    assert table.count("undertrained") == 3
    assert table.splitlines()[0].count("IoU of reconstructions") == 2
    assert "| IoU | mean class Dice | mean class IoU | IoU of background | IoU of foreground |" in table
    page = (done / "index.html").read_text()
    assert "<b>Undertrained</b>" in page
    assert page.count("<img") >= 5 + 3  # the figures, and readings
    assert page.count('id="readings"') == 1 and page.count("data-samples=") % 3 == 0 < page.count("data-samples=")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert {path.name for path in (done / "figures").glob("*.png")} >= {
        "ged-against-samples.png",
        "ged-boxplots.png",
        "sparsification.png",
    }


@pytest.mark.slow
def test_the_same_command_again_trains_and_evaluates_nothing(
    done: Path, lesion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = (done / "table.json").read_text()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("this was done already")

    monkeypatch.setattr("plurimask.compare.contenders.train_run", refuse)
    monkeypatch.setattr("plurimask.compare.contenders.measure", refuse)
    assert compare(lesion_folder, done, "--methods", "unet", "m-heads", "probabilistic-unet") == 0
    assert (done / "table.json").read_text() == table


def test_what_an_older_version_stored_is_measured_again(done: Path, lesion_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "cmp"
    shutil.copytree(done, out)
    path = out / "evaluations" / "unet.npz"
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    errors = kept.pop("errors")
    assert errors.shape == (3, 2, 1024)
    np.savez_compressed(path, **kept)
    assert compare(lesion_folder, out, "--methods", "unet") == 0
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["errors"], errors)


@pytest.mark.slow
def test_a_comparison_continues_where_it_stopped(
    done: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plurimask.compare.contenders as module

    original = module.train_run

    def interrupt(plan: Any, *arguments: Any, **settings: Any) -> Any:
        if plan.method == "m-heads":
            raise KeyboardInterrupt
        return original(plan, *arguments, **settings)

    monkeypatch.setattr(module, "train_run", interrupt)
    methods = ["--methods", "unet", "m-heads", "probabilistic-unet"]
    assert compare(lesion_folder, tmp_path / "cmp", *methods) == 130
    monkeypatch.setattr(module, "train_run", original)
    assert compare(lesion_folder, tmp_path / "cmp", *methods) == 0
    one, other = (json.loads((out / "table.json").read_text())["methods"] for out in (done, tmp_path / "cmp"))
    assert [row["ged"] for row in one] == [row["ged"] for row in other]


def test_runs_that_are_there_join(done: Path, lesion_folder: Path, tmp_path: Path) -> None:
    runs = [str(done / "runs" / name) for name in ("unet", "probabilistic-unet")]
    assert compare(lesion_folder, tmp_path / "cmp", "--runs", *runs) == 0
    rows = json.loads((tmp_path / "cmp" / "table.json").read_text())["methods"]
    before = {row["method"]: row for row in json.loads((done / "table.json").read_text())["methods"]}
    assert {row["method"]: row["ged"] for row in rows} == {
        name: before[name]["ged"] for name in before if name != "m-heads"
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare"),
        (["--methods", "unet", "probabilistic_unet"], "did you mean probabilistic-unet"),
        (["--methods", "unet", "--preset", "huge"], "unknown preset of unet 'huge'"),
        (["--methods", "unet", "--split", "tset"], "unknown split"),
        (["--methods", "unet", "--latent-dim", "3"], "unknown option"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], message: str, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(lesion_folder, tmp_path / "cmp", *arguments) == 2
    assert message in capsys.readouterr().err


def test_other_settings_do_not_mix_with_what_is_there(
    done: Path, lesion_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(lesion_folder, done, "--methods", "unet", "--seed", "5") == 2
    assert "unet has other seed" in capsys.readouterr().err


class Quiet:
    def stage(self, text: str, total: int | None = None) -> None: ...

    def image(self) -> None: ...


def test_a_comparison_that_notes_settings_of_methods_that_are_no_members_goes_on(tmp_path: Path) -> None:
    source = lesion_source(num_train=4, num_val=2, seed=3, size=32)

    def train(channels: tuple[int, ...]) -> bool:
        given = {"max_steps": 2, "num_validations": 1, "batch_size": 2, "members": ("unet", "unet")}
        plan = Plan("ensemble", settings=settings_for("ensemble", {**given, "channels": channels}))
        return train_contenders([Contender("ensemble", plan)], source, tmp_path, Quiet())

    assert train((4, 6))
    state_file, record_file = tmp_path / "comparison.json", tmp_path / "runs" / "ensemble" / "run.json"
    state, record = (json.loads(path.read_text()) for path in (state_file, record_file))
    noted, recorded = state["plans"]["ensemble"]["settings"], record["config"]
    assert noted["member_settings"] == {"unet": {"channels": [4, 6]}}
    assert recorded["member_settings"].keys() == {"unet"}
    # As older versions have it: with the methods that there were then, members or not.
    noted["member_settings"]["m-heads"] = {"channels": [4, 6]}
    recorded["member_settings"]["m-heads"] = {"channels": [16, 32, 64, 96]}
    state_file.write_text(json.dumps({**state, "trained": {}}))
    record_file.write_text(json.dumps(record))
    load_run(record_file.parent)
    assert train((4, 6))
    assert json.loads(state_file.read_text())["trained"].keys() == {"ensemble"}
    with pytest.raises(InputError, match="ensemble has other settings"):
        train((4, 8))


def test_a_file_of_settings_reaches_each_method(lesion_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("learning_rate: 0.002\nm-heads: {num_heads: 3}\n")
    methods = ["--methods", "unet", "m-heads", "--config", str(tmp_path / "s.yaml")]
    assert compare(lesion_folder, tmp_path / "cmp", *methods) == 0
    records = [json.loads((tmp_path / "cmp" / "runs" / name / "run.json").read_text()) for name in ("unet", "m-heads")]
    assert [record["training"]["learning_rate"] for record in records] == [0.002, 0.002]
    assert records[1]["config"]["num_heads"] == 3


def test_ged_of_fewer_samples_is_the_mean_over_groups() -> None:
    generator = torch.Generator().manual_seed(3)
    samples = torch.randint(0, 2, (7, 5, 6), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 2, (3, 5, 6), dtype=torch.uint8, generator=generator)
    between = image_distances(samples, labels, (1,))
    got = ged_of_fewer(between.samples, between.crossed.mean(1), float(between.raters.mean()), [1, 3, 7])
    for number, value in zip([1, 3, 7], got, strict=True):
        groups = [samples[start : start + number] for start in range(0, 7 - number + 1, number)]
        want = [energy_distance(image_distances(group, labels, (1,)))[0] for group in groups]
        assert value == pytest.approx(sum(want) / len(want), abs=1e-9)


def test_numbers_of_samples_double_up_to_all() -> None:
    assert numbers_of_samples(16) == [1, 4, 8, 16]
    assert numbers_of_samples(20) == [1, 4, 8, 16, 20]
    assert numbers_of_samples(2) == [1, 2]


def test_the_best_is_bold_where_there_is_a_better() -> None:
    text = markdown_table([{"method": "a", "ged": 0.5, "diversity": 0.1}, {"method": "b", "ged": 0.25, "nll": None}])
    assert text.splitlines()[0] == "| method | GED | diversity |"
    assert "| b | **0.2500** | - |" in text
    assert "| a | 0.5000 | 0.1000 |" in text
    assert "**" not in markdown_table([{"method": "a", "ged": 0.5}])


def test_classes_have_columns_behind_their_mean() -> None:
    rows = [
        {"method": name, "mean_class_iou": 0.5, "ece": 0.25, "IoU of a b": value, "IoU of c": None, "other_one": 1.0}
        for name, value in (("x", 0.5), ("y", 0.75))
    ]
    text = markdown_table(rows)
    assert text.splitlines()[0] == "| method | mean class IoU | IoU of a b | calibration error | other one |"
    assert "| y | **0.5000** | **0.7500** | **0.2500** | 1.00 |" in text
    assert "| x | **0.5000** | 0.5000 |" in text


def test_reconstructions_have_columns_where_some_method_has_them() -> None:
    rows = [{"method": name, "ged": 0.5, "reconstruction_iou": None} for name in "ab"]
    assert markdown_table(rows).splitlines()[0] == "| method | GED |"
    rows[1]["reconstruction_iou"] = 0.75
    text = markdown_table(rows)
    assert text.splitlines()[0] == "| method | GED | IoU of reconstructions |"
    assert "| a | **0.5000** | - |" in text


def test_other_data_do_not_mix_with_what_is_there(
    done: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(lesion_folder, copy)
    image = sorted((copy / "val" / "images").iterdir())[0]
    pixels = np.array(Image.open(image))
    Image.fromarray(255 - pixels).save(image)
    assert compare(copy, done, "--methods", "unet") == 2
    assert "on other data" in capsys.readouterr().err
    assert compare(tmp_path / "nowhere", done, "--methods", "unet", "--overwrite") == 2
    assert (done / "table.json").exists()  # nothing was removed before the mistake was found


def test_runs_of_other_splits_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lesion_source(num_train=8, num_val=2, seed=3, size=36)
    write_folder(source, tmp_path / "both")
    flat = tmp_path / "both" / "train"  # without split folders: a split is drawn
    for seed in ("1", "2"):
        tiny = ["--channels", "4", "6", "--seed", seed, *FAST]
        assert main(["train", str(flat), "--method", "unet", "--out", str(tmp_path / f"run{seed}"), *tiny]) == 0
    runs = [str(tmp_path / "run1"), str(tmp_path / "run2")]
    assert main(["compare", str(flat), "--runs", *runs, "--out", str(tmp_path / "cmp")]) == 2
    assert "differ in their split" in capsys.readouterr().err
    assert main(["compare", str(flat), "--runs", runs[0], "--group", "x", "--out", str(tmp_path / "cmp")]) == 2


def test_shared_settings_reach_the_members_of_an_ensemble(lesion_folder: Path, tmp_path: Path) -> None:
    own = settings_for("ensemble", {"channels": (4, 6), "num_heads": 3, "batch_size": 2})
    assert own["member_settings"]["unet"] == {"channels": (4, 6)}
    assert own["member_settings"]["m-heads"] == {"channels": (4, 6), "num_heads": 3}
    assert own["batch_size"] == 2
    assert settings_for("unet", {"channels": (4, 6), "num_heads": 3}) == {"channels": (4, 6)}


# ---- replacing, and signals ---------------------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_no_comparison_is_not_replaced(
    lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("runs/mine.txt", "figures/mine.png", "table.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--overwrite"]):
        assert compare(lesion_folder, Path(), "--methods", "unet", *more) == 2
        assert "no comparison" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_new_comparison_that_fails_leaves_the_old_one(
    done: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(done, tmp_path / "cmp"))
    before = tree(out)
    assert compare(lesion_folder, out, "--methods", "ensemble", "--max-steps", "2", "--overwrite") == 2
    assert tree(out) == before
    run = str(shutil.copytree(done / "runs" / "unet", tmp_path / "mine"))
    monkeypatch.setattr("plurimask.commands.compare.Bars.image", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    assert compare(lesion_folder, out, "--runs", run, "--overwrite") == 143
    assert tree(out) == before


def test_a_comparison_that_a_signal_stops_is_continued(
    done: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(done, tmp_path / "cmp"))
    original = UNet.after_step
    monkeypatch.setattr(UNet, "after_step", lambda self, step: os.kill(os.getpid(), signal.SIGTERM))
    arguments = ["--methods", "unet", "--seed", "3"]
    assert compare(lesion_folder, out, *arguments, "--overwrite") == 143
    assert "Stopped; what is done is kept" in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == {"comparison.json", "runs"}
    assert [path.name for path in (out / "runs").iterdir()] == ["unet"]
    monkeypatch.setattr(UNet, "after_step", original)
    assert compare(lesion_folder, out, *arguments) == 0
    assert compare(lesion_folder, tmp_path / "whole", *arguments) == 0
    weights = [folder / "runs/unet/weights.safetensors" for folder in (out, tmp_path / "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert tree(out).keys() == tree(tmp_path / "whole").keys()


def test_a_training_that_ends_at_once_behind_its_checkpoint_is_kept(
    done: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(done, tmp_path / "cmp"))
    monkeypatch.setattr(UNet, "finish", lambda self, batches: os.kill(os.getpid(), signal.SIGTERM))
    assert compare(lesion_folder, out, "--methods", "unet", "--seed", "3", "--overwrite") == 143
    assert {path.name for path in out.iterdir()} == {"comparison.json", "runs"}
    assert (out / "runs" / "unet" / "checkpoints" / "last.ckpt").exists()


def test_a_new_comparison_that_was_killed_is_continued_from_its_first_checkpoint(
    done: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(done, tmp_path / "cmp"))
    assert compare(lesion_folder, tmp_path / "new", "--methods", "unet", "--seed", "3") == 0
    (tmp_path / "new" / "table.json").unlink()
    (tmp_path / "new").rename(out / NEW)
    assert compare(lesion_folder, out, "--methods", "unet", "--seed", "3") == 0
    rows = json.loads((out / "table.json").read_text())["methods"]
    assert [row["method"] for row in rows] == ["unet"]
    assert [path.name for path in (out / "runs").iterdir()] == ["unet"]
