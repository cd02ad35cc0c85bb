"""The command line as a user meets it: the whole way, and every wrong turn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from plurimask.commands.main import COMMANDS, main
from plurimask.data.preprocessing import MAX_SIDE

TINY = "--channels 6 8 --batch-size 3 --max-steps 4 --num-validations 1 --validation-samples 2".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def run(lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(lesion_folder), "--method", "probabilistic-unet", *TINY, "--out", str(out)]) == 0
    return out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    method = ["--method", "unet"] if command == "train" else []
    with pytest.raises(SystemExit) as exit_:
        main([command, *method, "--help"])
    assert exit_.value.code == 0
    assert f"plurimask {command}" in capsys.readouterr().out


def test_evaluate_writes_json_and_a_row_per_image(
    run: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(run), str(lesion_folder), "--samples", "5"]
    assert main([*arguments, "--out", str(tmp_path / "e.json")]) == 0
    printed = capsys.readouterr().out
    assert "ged_oracle" in printed
    content = json.loads((tmp_path / "e.json").read_text())
    assert list(content["class_iou"]) == ["background", "foreground"] == list(content["subset_b"]["class_dice"])
    row = next(line for line in printed.splitlines() if "foreground" in line)
    assert f"{content['class_dice']['foreground']:.4f}" in row
    assert f"{content['class_iou']['foreground']:.4f}" in row
    assert f"{content['mean_class_iou']:.4f}" in printed
    assert "error_auroc_spread" in printed
    names = (
        "num_images num_samples ged ged_unbiased ged_oracle ged_ratio hungarian_iou_balanced diversity rater_diversity "
    )
    names += (
        "hungarian_iou_best_draws dice median_dice iou mean_class_iou ece nll error_auroc ause conventions subset_b"
    )
    assert set(names.split()) <= set(content)
    assert content["num_images"] == 5
    assert content["num_samples"] == 5
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 6
    assert not {name for name in content if name.startswith("ged_representatives")}
    assert main([*arguments, "--batch-size", "2", "--representatives", "--out", str(tmp_path / "f.json")]) == 0
    other = json.loads((tmp_path / "f.json").read_text())
    assert 0 <= other["ged_representatives"] < 2 and "ged_representatives_4: the GED of the 4" in other["conventions"]
    assert "ged_representatives_4" in capsys.readouterr().out
    assert other["ged"] == pytest.approx(content["ged"], abs=1e-3)  # rounding may decide a tie


def test_the_number_of_readings_can_be_asked_for(run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    image = sorted((lesion_folder / "val" / "images").iterdir())[0]
    for count in (1, 3):
        arguments = ["predict", str(run), str(image), "--out", str(tmp_path / "p"), "--overwrite", "--samples", "6"]
        assert main([*arguments, "--readings", str(count)]) == 0
        content = json.loads((tmp_path / "p" / image.stem / "readings.json").read_text())
        assert content["num_readings"] == len(content["readings"]) <= count and f"{count} at most" in content["rule"]
        assert len([*(tmp_path / "p" / image.stem).glob("reading-*.png")]) == content["num_readings"]
        assert sum(row["share"] for row in content["readings"]) == pytest.approx(1)


def test_predict_writes_the_files_of_each_image(run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    images = lesion_folder / "val" / "images"
    assert main(["predict", str(run), str(images), "--out", str(tmp_path / "p"), "--samples", "3"]) == 0
    folders = sorted(path for path in (tmp_path / "p").iterdir() if path.is_dir())
    assert len((tmp_path / "p" / "uncertainty.csv").read_text().splitlines()) == len(folders) + 1
    assert [folder.name for folder in folders] == sorted(path.stem for path in images.iterdir())
    names = {"sample-00.png", "sample-01.png", "sample-02.png", "mask.png", "mean.tif", "entropy.tif"}
    for folder in folders:
        readings = json.loads((folder / "readings.json").read_text())["readings"]
        more = {"mutual_information.tif", "variance.tif", "uncertainty.json", "samples.json", "overview.png"}
        more |= {"finished.json", "thumbnails.json"}
        more |= {"readings.json", *(f"reading-{number + 1}.png" for number in range(len(readings)))}
        assert {path.name for path in folder.iterdir()} == names | more
        size = Image.open(images / f"{folder.name}.png").size
        assert Image.open(folder / "mask.png").size == size
        assert set(np.unique(Image.open(folder / "sample-01.png"))) <= {0, 255}
        mean = tifffile.imread(folder / "mean.tif")
        assert mean.dtype == np.float32
        assert mean.shape == (2, *size[::-1])
        np.testing.assert_allclose(mean.sum(0), 1, atol=1e-5)
        distinct = json.loads((folder / "samples.json").read_text())
        assert sum(one["count"] for one in distinct["distinct"]) == 3
    index = (tmp_path / "p" / "index.html").read_text()
    assert all(f'href="{folder.name}/"' in index for folder in folders)


def test_predict_says_how_it_drew(run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    image = sorted((lesion_folder / "val" / "images").iterdir())[0]
    drawn = {}
    for name, more in {"independent": [], "spread": ["--spread"]}.items():
        out = tmp_path / name
        assert main(["predict", str(run), str(image), "--out", str(out), "--samples", "8", "--seed", "3", *more]) == 0
        content = json.loads((out / image.stem / "samples.json").read_text())
        assert (content["draws"], content["seed"], content["num_samples"]) == (name, 3, 8)
        assert ("spread evenly" in (out / "index.html").read_text()) == (name == "spread")
        drawn[name] = tifffile.imread(out / image.stem / "mean.tif")
    assert not np.allclose(drawn["independent"], drawn["spread"], atol=1e-4)


def centred(folder: Path, out: Path) -> Path:
    arguments = ["--method", "probabilistic-unet", *TINY, "--center-crop", "16"]
    assert main(["train", str(folder), *arguments, "--out", str(out)]) == 0
    return out


def test_a_refused_prediction_leaves_the_pages_of_an_earlier_one(
    run: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    image, out = next(iter((lesion_folder / "val" / "images").iterdir())), tmp_path / "p"
    assert main(["predict", str(run), str(image), "--out", str(out), "--samples", "2"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    unet = tmp_path / "unet"
    assert main(["train", str(lesion_folder), "--method", "unet", *TINY, "--out", str(unet)]) == 0
    arguments = ["predict", str(unet), str(image), "--out", str(out), "--samples", "2", "--overwrite"]
    assert main([*arguments, "--spread"]) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert main(arguments) == 0
    assert (out / "index.html").read_bytes() != before["index.html"]


def test_predictions_of_a_centred_run_have_the_size_of_the_image(lesion_folder: Path, tmp_path: Path) -> None:
    run = centred(lesion_folder, tmp_path / "run")
    arguments = ["predict", str(run), str(lesion_folder / "val" / "images"), "--out", str(tmp_path / "p")]
    assert main([*arguments, "--samples", "11"]) == 0
    folder = first_folder(tmp_path / "p")
    mean, entropy = tifffile.imread(folder / "mean.tif"), tifffile.imread(folder / "entropy.tif")
    assert mean.shape == (2, 36, 36)
    assert mean.min() >= 0
    outside = np.ones((36, 36), bool)
    outside[10:26, 10:26] = False
    assert np.array_equal(mean[:, outside], np.broadcast_to([[1.0], [0.0]], (2, outside.sum())))
    assert (entropy[outside] == 0).all()
    assert (entropy[~outside] > 0).all()
    assert not np.array(Image.open(folder / "sample-10.png"))[outside].any()
    assert main([*arguments, "--samples", "3", "--overwrite"]) == 0
    assert len(list(folder.glob("sample-*.png"))) == 3


def test_outside_of_a_centred_run_without_background_nothing_is_judged(lesion_folder: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(lesion_folder, tmp_path / "data"))
    (data / "dataset.json").write_text('{"labels": {"tissue": 0, "lesion": 255, "ignore": 7}}')
    run = centred(data, tmp_path / "run")
    assert (
        main(["predict", str(run), str(data / "val" / "images"), "--out", str(tmp_path / "p"), "--samples", "2"]) == 0
    )
    folder = first_folder(tmp_path / "p")
    mask = np.array(Image.open(folder / "mask.png"))
    assert set(mask[:10].flatten()) == {7}
    assert set(mask[10:26, 10:26].flatten()) <= {0, 255}
    assert np.isnan(tifffile.imread(folder / "mean.tif")[:, 0]).all()
    assert not np.isnan(tifffile.imread(folder / "mean.tif")[:, 10:26, 10:26]).any()


def test_a_name_cannot_lead_out_of_the_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((1, 20, 20), np.uint8), names=np.array(["../escaped"]))
    assert main(["predict", str(run), str(tmp_path / "x.npz"), "--out", str(tmp_path / "deep" / "p")]) == 2
    assert "escaped" in capsys.readouterr().err
    assert not list(tmp_path.rglob("sample-*.png"))


def test_images_with_other_channels_are_refused(
    run: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(lesion_folder, tmp_path / "data"))
    for path in (data / "val" / "images").iterdir():
        Image.merge("RGB", [Image.open(path), *[Image.new("L", (36, 36))] * 2]).save(path)
    shutil.rmtree(data / "train")
    assert main(["evaluate", str(run), str(data)]) == 2
    assert "channels" in capsys.readouterr().err


def test_a_folder_without_splits_is_evaluated_whole(
    run: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = lesion_folder / "val"
    assert main(["evaluate", str(run), str(held_out), "--split", "val"]) == 2
    assert "Known: all" in capsys.readouterr().err
    out = tmp_path / "e.json"
    assert main(["evaluate", str(run), str(held_out), "--split", "all", "--samples", "2", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["num_images"] == 5


def test_check_can_look_at_the_centre_alone(lesion_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(lesion_folder), "--center-crop", "20"]) == 0
    assert "20x20" in capsys.readouterr().out


def test_an_impossible_device_harms_no_earlier_run(
    run: Path, lesion_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "weights.safetensors").read_bytes()
    arguments = ["--method", "unet", *TINY, "--out", str(run), "--overwrite", "--accelerator", "abacus"]
    assert main(["train", str(lesion_folder), *arguments]) == 2
    assert "abacus" in capsys.readouterr().err
    assert (run / "weights.safetensors").read_bytes() == before


def test_demo_does_not_replace_what_is_no_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("precious")
    assert main(["demo", "--out", str(tmp_path), "--overwrite"]) == 2
    assert "no earlier demo" in capsys.readouterr().err
    assert (tmp_path / "data" / "mine.txt").exists()


def test_predictions_do_not_depend_on_other_images(run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    images = lesion_folder / "val" / "images"
    one = sorted(images.iterdir())[2]
    assert main(["predict", str(run), str(images), "--out", str(tmp_path / "all"), "--samples", "3"]) == 0
    assert main(["predict", str(run), str(one), "--out", str(tmp_path / "one"), "--samples", "3"]) == 0
    means = [tifffile.imread(tmp_path / folder / one.stem / "mean.tif") for folder in ("all", "one")]
    np.testing.assert_allclose(means[0], means[1], atol=2e-2)  # bf16 products round by the batch's shape


def test_report_is_one_file(run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert main(["report", str(run), str(lesion_folder), "--out", str(out), "--samples", "4"]) == 0
    text = out.read_text()
    assert "Probabilistic U-Net" in text
    assert "data:image/png;base64," in text


def test_data_may_have_another_number_of_raters_than_the_run(run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    two, one = (Path(shutil.copytree(lesion_folder / "val", tmp_path / name / "val")) for name in ("two", "one"))
    for reader in ("reader1", "reader4"):
        shutil.rmtree(two / "masks" / reader)
    for path in (one / "masks" / "reader3").iterdir():
        path.rename(one / "masks" / path.name)
    for reader in ("reader1", "reader2", "reader3", "reader4"):
        shutil.rmtree(one / "masks" / reader)
    for number, data in ((2, two.parent), (1, one.parent)):
        out = tmp_path / f"{number}.json"
        assert main(["evaluate", str(run), str(data), "--samples", "2", "--out", str(out)]) == 0
        assert json.loads(out.read_text())["num_raters"] == number
        assert main(["report", str(run), str(data), "--out", str(tmp_path / f"{number}.html"), "--samples", "2"]) == 0
    page = (tmp_path / "2.html").read_text()
    assert "<td>reader2</td>" in page
    assert "reader1" not in page


def test_check_and_methods(lesion_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(lesion_folder)]) == 0
    assert "GED" in capsys.readouterr().out
    assert main(["methods"]) == 0
    assert "probabilistic-unet" in capsys.readouterr().out


def test_settings_from_a_file_and_the_command_line(lesion_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(
        "channels: [5, 7]\nmax-steps: 3\nbatch_size: 2\naugmentation: {rotation: 0}\n"
    )
    words = f"--method unet --config {tmp_path / 'settings.yaml'} --batch-size=4 --augmentation.flip_vertical 0.25"
    arguments = words.split()
    assert (
        main(["train", str(lesion_folder), *arguments, "--num-validations", "1", "--out", str(tmp_path / "run")]) == 0
    )
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["channels"] == [5, 7]
    assert record["training"]["max_steps"] == 3
    assert record["training"]["max_minutes"] is None
    assert record["training"]["batch_size"] == 4
    assert record["training"]["augmentation"]["rotation"] == 0
    assert record["training"]["augmentation"]["flip_vertical"] == 0.25


# ---- wrong turns --------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(lesion_folder: Path, tmp_path: Path) -> Path:
    """A copy of the data, to be broken."""
    return Path(shutil.copytree(lesion_folder, tmp_path / "broken"))


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def first_folder(folder: Path) -> Path:
    return sorted(path for path in folder.iterdir() if path.is_dir())[0]


def empty(data: Path) -> None:
    shutil.rmtree(data)
    data.mkdir()


def mask_of_another_size(data: Path) -> None:
    path = first(data / "train" / "masks" / "reader2")
    Image.new("L", (20, 11)).save(path)


def class_out_of_range(data: Path) -> None:
    (data / "dataset.json").write_text('{"labels": {"background": 0, "lesion": 255}}')
    path = first(data / "train" / "masks" / "reader1")
    Image.fromarray(np.full((36, 36), 7, np.uint8)).save(path)


def corrupt_png(data: Path) -> None:
    path = first(data / "train" / "images")
    path.write_bytes(path.read_bytes()[:200])


def nan_in_a_tiff(data: Path) -> None:
    path = first(data / "train" / "images")
    image = np.zeros((36, 36), np.float32)
    image[3, 4] = np.nan
    tifffile.imwrite(path.with_suffix(".tif"), image)
    path.unlink()


def one_image_only(data: Path) -> None:
    name = first(data / "train" / "images").name
    for folder in [Path("images"), *(Path("masks") / f"reader{k}" for k in range(1, 5))]:
        (data / folder).mkdir(parents=True)
        shutil.copy(data / "train" / folder / name, data / folder / name)
    shutil.rmtree(data / "train")
    shutil.rmtree(data / "val")


WRONG_DATA: list[tuple[Callable[[Path], None], str]] = [
    (empty, "looked for"),
    (mask_of_another_size, "reader2"),
    (class_out_of_range, "7"),
    (corrupt_png, ".png"),
    (nan_in_a_tiff, ".tif"),
    (one_image_only, "one"),
]


@pytest.mark.parametrize(("damage", "word"), WRONG_DATA, ids=lambda value: getattr(value, "__name__", ""))
def test_wrong_data_gets_one_line(
    broken: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], word: str
) -> None:
    damage(broken)
    out = broken.parent / "run"
    code = main(["train", str(broken), "--method", "unet", *TINY, "--out", str(out)])
    message = capsys.readouterr().err.strip()
    assert code == 2
    assert message.startswith("plurimask: ")
    assert len(message.splitlines()) == 1
    assert word in message
    assert not (out / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["unknown command", "did you mean train"]),
        (["train", "DATA", "--method", "probabilistic_unet", "--out", "x"], ["did you mean probabilistic-unet"]),
        (["train", "DATA", "--method", "unet", "--out", "x", "--learning-rat", "1"], ["--learning-rate"]),
        (["train", "DATA", "--method", "unet", "--out", "x", "--preset", "smal"], ["did you mean small"]),
        (["train", "DATA", "--method", "unet", "--out", "x", "--max-steps", "many"], ["--max-steps many"]),
        (["train", "DATA", "--method", "unet", "--out", "x", "--batch-size", "0"], ["--batch-size 0"]),
        (["check", "DATA", "--center-crop", "1000000"], ["--center-crop 1000000", str(MAX_SIDE)]),
        (["train", "DATA", "--method", "unet", "--out", "RUN"], ["--overwrite"]),
        (["train", "DATA", "--method", "unet"], ["--out"]),
        (["train", "nowhere", "--method", "unet", "--out", "x"], ["nowhere"]),
        (["evaluate", "RUN", "DATA", "--split", "vall"], ["did you mean val"]),
        (["evaluate", "DATA", "DATA"], ["run.json"]),
        (["evaluate", "RUN", "DATA", "--samples", "0"], ["--samples 0"]),
        (["predict", "RUN", "DATA/val/images", "--out", "RUN"], ["--overwrite"]),
        (["predict", "RUN", "EMPTY", "--out", "x"], ["no images"]),
        (["report", "RUN", "DATA", "--out", "RUN/run.json"], ["--overwrite"]),
    ],
)
def test_wrong_arguments_get_one_line(  # noqa: PLR0913  (fixtures)
    run: Path,
    lesion_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"DATA": str(lesion_folder), "RUN": str(run), "EMPTY": str(tmp_path / "empty")}
    for name, place in places.items():
        arguments = [word.replace(name, place) for word in arguments]
    capsys.readouterr()
    assert main(arguments) == 2
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    assert all(word in message for word in words), message
    assert not (tmp_path / "x").exists()


def test_a_run_of_another_version_is_refused(
    run: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**record, "format": 99}))
    assert main(["evaluate", str(other), str(lesion_folder)]) == 2
    assert "format 99" in capsys.readouterr().err


def test_damaged_weights_are_refused(
    run: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    (other / "weights.safetensors").write_bytes(b"nothing")
    assert main(["evaluate", str(other), str(lesion_folder)]) == 2
    assert "weights" in capsys.readouterr().err


def test_a_full_disk_harms_nothing(
    run: Path, lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "e.json"
    out.write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code = main(["evaluate", str(run), str(lesion_folder), "--samples", "2", "--out", str(out), "--overwrite"])
    assert code == 2
    assert "No space left" in capsys.readouterr().err
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.json", "e.parts"]  # what is known of each image
    monkeypatch.undo()
    assert main(["evaluate", str(run), str(lesion_folder), "--samples", "2", "--out", str(out), "--overwrite"]) == 0
    assert "5 of 5 images are evaluated already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.csv", "e.json"]
