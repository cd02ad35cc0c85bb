"""What the page is told of runs, images and predictions: the same as the other commands say and write."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from attack import run
from PIL import Image

pytest.importorskip("fastapi", reason="the viewer is not installed: pip install 'plurimask[view]'")
pytest.importorskip("httpx", reason="the viewer's tests ask it by httpx, which is not installed")

from viewer_client import Asking, asking

from plurimask.errors import InputError
from plurimask.runs.load import Run, load_run
from plurimask.viewer import bundle, desk, predicting, uploads
from plurimask.viewer.desk import Desk


@pytest.fixture
def page(desk: Desk) -> Iterator[Asking]:
    with asking(desk) as one:
        yield one


def test_the_session_says_what_is_shown(page: Asking, latent_run: Run) -> None:
    told = page.json("/api/session")
    assert [one["name"] for one in told["runs"]] == ["probabilistic-unet run"]
    assert (told["runs"][0]["method"], told["runs"][0]["latent"]) == ("probabilistic-unet", "vector")
    assert told["runs"][0]["undertrained"] == latent_run.record.undertrained
    assert [(one["name"], one["value"], one["counted"]) for one in told["classes"]] == [
        ("background", 0, False),
        ("foreground", 255, True),
    ]
    assert (told["is_binary"], told["has_background"], told["num_samples"], told["seed"]) == (True, True, 5, 3)
    assert [one["name"] for one in told["raters"]] == ["reader1", "reader2", "reader3", "reader4"]
    assert len({one["colour"] for one in told["raters"]} | {told["colours"]["sample"]}) == 5
    assert (told["data"]["state"], told["data"]["name"], told["data"]["num_images"]) == ("ready", "val of data", 5)
    assert "ged" in told["sorts"] and told["saving"] == {"folder": "out"}


def test_an_image_has_the_samples_that_predict_writes(
    page: Asking, runs: Callable[[str], Path], lesion_folder: Path, tmp_path: Path
) -> None:
    words = [str(runs("probabilistic-unet")), str(lesion_folder / "val" / "images"), "--out", str(tmp_path / "p")]
    code, printed = run(["predict", *words, "--samples", "5", "--seed", "3"])
    assert code == 0, printed
    values, differing = np.array([0, 255], np.uint8), 0
    for row in page.json("/api/images", sort="name")["images"]:
        folder = tmp_path / "p" / row["name"]
        meta, arrays = page.bundle(f"/api/images/{row['id']}/prediction")
        for number, labels in enumerate(arrays["samples"]):
            written = np.asarray(Image.open(folder / f"sample-{number:02d}.png"))
            assert (values[labels] != written).mean() < 0.01  # batches of another size are rounded otherwise
        for name in ("mean", "entropy", "mutual_information"):
            assert np.allclose(arrays[name].values, tifffile.imread(folder / f"{name}.tif"), atol=1e-2)
        differing += bool(arrays["mutual_information"].values.max() > 0)  # of a run so short labels may be alike
        assert meta["areas"] == [np.bincount(labels.ravel(), minlength=2).tolist() for labels in arrays["samples"]]
    assert differing > 1  # of several images the samples are not one and the same draw


def test_scores_are_those_of_evaluate(
    page: Asking, runs: Callable[[str], Path], lesion_folder: Path, tmp_path: Path
) -> None:
    words = [str(runs("probabilistic-unet")), str(lesion_folder), "--out", str(tmp_path / "e.json")]
    code, printed = run(["evaluate", *words, "--samples", "5", "--seed", "3"])
    assert code == 0, printed
    with (tmp_path / "e.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    for row in page.json("/api/images", sort="name")["images"]:
        scores = page.bundle(f"/api/images/{row['id']}/prediction")[0]["scores"]
        for name in ("ged", "ged_oracle"):
            assert scores[name] == pytest.approx(float(rows[row["name"]][name]), abs=0.02)


def test_an_image_comes_with_its_raters(page: Asking, lesion_folder: Path) -> None:
    row = page.json("/api/images", sort="name")["images"][1]
    meta, arrays = page.bundle(f"/api/images/{row['id']}/image")
    stored = np.asarray(Image.open(lesion_folder / "val" / "images" / f"{row['name']}.png"))
    assert arrays["pixels"].dtype == np.uint8 and np.array_equal(arrays["pixels"][0], stored)
    assert meta["range"] == [[stored.min(), stored.max()]] and meta["display"] == "grey"
    for rater, labels in zip(meta["raters"], arrays["raters"], strict=True):
        path = lesion_folder / "val" / "masks" / rater["name"] / f"{row['name']}.png"
        assert np.array_equal(labels, np.asarray(Image.open(path)) // 255)
    assert meta["rater_areas"] == [np.bincount(labels.ravel(), minlength=2).tolist() for labels in arrays["raters"]]


def test_the_worst_come_first_and_those_without_scores_last(page: Asking) -> None:
    by_name = [row["id"] for row in page.json("/api/images", sort="name")["images"]]
    assert [row["scores"] for row in page.json("/api/images")["images"]] == [None] * 5
    scores = {number: page.bundle(f"/api/images/{number}/prediction")[0]["scores"] for number in by_name[1:]}
    for sort, sign in (("disagreement", -1), ("quality", 1), ("entropy", -1), ("ged", -1)):
        told = page.json("/api/images", sort=sort)
        expected = sorted(by_name[1:], key=lambda number, sort=sort, sign=sign: (sign * scores[number][sort], number))
        assert [row["id"] for row in told["images"]] == [*expected, by_name[0]]
        assert (told["total"], told["scored"]) == (5, 4)
        middle = page.json("/api/position", sort=sort, image=expected[1])
        assert middle == {"position": 1, "total": 5, "previous": expected[0], "next": expected[2]}


def test_the_list_is_searched_and_comes_in_pages(page: Asking) -> None:
    names = [row["name"] for row in page.json("/api/images", sort="name")["images"]]
    found = page.json("/api/images", search=names[2].upper())
    assert [row["name"] for row in found["images"]] == [names[2]]
    second = page.json("/api/images", sort="name", offset=2, limit=2)
    assert [row["name"] for row in second["images"]] == names[2:4] and second["total"] == 5
    assert page.json("/api/images", search="nothing like it")["images"] == []


def test_the_rest_of_the_list_is_scored_while_nothing_is_asked_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plurimask.viewer.work.IDLE_SECONDS", 0.01)
    with asking(desk, with_spare=True) as page:
        for _ in range(400):
            told = page.json("/api/session")["scoring"]
            if told["done"] == [5]:
                break
            time.sleep(0.02)
        assert told == {"done": [5], "total": 5, "paused": False}
        assert all(row["scores"] for row in page.json("/api/images")["images"])


def test_scoring_can_be_paused(desk: Desk) -> None:
    with asking(desk) as page:
        assert desk.spare() is not None
        assert page.post("/api/scoring", {"paused": True}).json()["paused"] is True
        assert desk.spare() is None
        page.post("/api/scoring", {"paused": False})
        assert desk.spare() is not None


def test_an_image_that_cannot_be_predicted_is_scored_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "MAX_PIXELS", 100)
    with asking(desk) as page:
        answer = page.get("/api/images/0/prediction")
        assert answer.status_code == 422 and "plurimask predict" in answer.json()["error"]
        action = desk.spare()
        assert action is not None
        page.worker.submit("spare", action).future.result(10)
        assert desk.work_list.num_scored(0) == 1 and desk.work_list.scores(0, 0) is None


def test_a_thumbnail_has_outlines_once_there_are_some(page: Asking) -> None:
    plain = page.get("/api/images/2/thumbnail")
    page.bundle("/api/images/2/prediction")
    drawn = page.get("/api/images/2/thumbnail")
    assert (plain.headers["x-contours"], drawn.headers["x-contours"]) == ("0", "1")
    for answer in (plain, drawn):
        assert Image.open(io.BytesIO(answer.content)).size == (96, 96)


def test_large_images_are_thinned_and_saved_whole(
    page: Asking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = page.bundle("/api/images/0/prediction")[1]
    page.desk.forget(0)
    for module in (bundle,):
        monkeypatch.setattr(module, "MAX_PIXELS", 400)
    meta, arrays = page.bundle("/api/images/0/prediction")
    assert meta["step"] == 2 and meta["size"] == [36, 36]
    assert np.array_equal(arrays["samples"], whole["samples"][:, ::2, ::2])
    assert page.bundle("/api/images/0/image")[1]["pixels"].shape == (1, 18, 18)
    for choice in ({"kind": "sample", "sample": 2}, {"kind": "mean", "threshold": 0.4}, {"kind": "mean"}):
        answer = page.post("/api/images/0/save", {"choice": choice, "overwrite": True})
        assert answer.status_code == 201
        saved = np.asarray(Image.open(tmp_path / "out" / answer.json()["file"])) // 255
        mean = whole["mean"].stored.astype(int)
        expected = {
            "sample": whole["samples"][2],
            "mean": 65535 - mean[0] >= 0.4 * 65535 if "threshold" in choice else whole["most_likely"],
        }
        assert np.array_equal(saved, expected[choice["kind"]])


def test_outside_of_the_window_is_said_and_saved_as_background(
    make_desk: Callable[..., Desk], runs: Callable[[str], Path], lesion_folder: Path, tmp_path: Path
) -> None:
    import shutil

    cropped = tmp_path / "cropped"
    shutil.copytree(runs("probabilistic-unet"), cropped)
    record = json.loads((cropped / "run.json").read_text())
    record["preprocessing"]["center_crop"] = 20
    (cropped / "run.json").write_text(json.dumps(record))
    with asking(make_desk(load_run(cropped), data=lesion_folder)) as page:
        meta, arrays = page.bundle("/api/images/1/prediction")
        assert meta["window"] == {"top": 8, "left": 8, "height": 20, "width": 20}
        assert (meta["outside"], arrays["samples"].shape) == ("background", (5, 20, 20))
        answer = page.post("/api/images/1/save", {"choice": {"kind": "mean", "threshold": 0.0}})
        saved = np.asarray(Image.open(tmp_path / "out" / answer.json()["file"]))
        expected = np.zeros((36, 36), np.uint8)
        expected[8:28, 8:28] = 255
        assert np.array_equal(saved, expected) and answer.json()["areas"] == [36 * 36 - 400, 400]


def test_what_is_saved_is_what_was_shown(page: Asking, tmp_path: Path) -> None:
    name = page.json("/api/images", sort="name")["images"][0]["name"]
    choice = {"kind": "union", "samples": [0, 2, 3]}
    preview = page.bundle("/api/images/0/preview", choice=json.dumps(choice))
    samples = page.bundle("/api/images/0/prediction")[1]["samples"]
    assert np.array_equal(preview[1]["labels"], samples[[0, 2, 3]].any(0))
    answer = page.post("/api/images/0/save", {"choice": choice})
    assert answer.status_code == 201
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{name}.png")), 255 * samples[[0, 2, 3]].any(0))
    record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert record["run"]["identity"] == page.desk.runs[0].run.record.identity
    assert (record["seed"], record["num_samples"], record["choice"]["samples"]) == (3, 5, [0, 2, 3])
    assert page.json("/api/images", search=name)["images"][0]["saved"]["file"] == f"{name}.png"
    refused = page.post("/api/images/0/save", {"choice": {"kind": "mean"}})
    assert refused.status_code == 409 and refused.json()["choice"]["kind"] == "union"
    assert page.post("/api/undo", {"undo": answer.json()["undo"]}).json()["image"] == 0
    assert not any((tmp_path / "out").iterdir())


def test_an_image_is_dropped_in_predicted_and_taken_away(page: Asking, lesion_folder: Path) -> None:
    path = next((lesion_folder / "val" / "images").iterdir())
    answer = page.post("/api/uploads", path.read_bytes(), name=path.name)
    assert answer.status_code == 201 and answer.json()["name"] == path.stem
    number = answer.json()["id"]
    first = page.json("/api/images", sort="entropy")["images"][0]
    assert (first["id"], first["upload"], first["labelled"]) == (number, True, False)
    own = next(
        row["id"] for row in page.json("/api/images")["images"] if row["name"] == path.stem and not row["upload"]
    )
    dropped, stored = (page.bundle(f"/api/images/{one}/prediction")[1]["samples"] for one in (number, own))
    assert np.array_equal(dropped, stored)
    assert page.delete(f"/api/uploads/{number}").status_code == 204
    assert page.get(f"/api/images/{number}/prediction").status_code == 404
    assert page.delete("/api/uploads/0").status_code == 404


def png(*size: int) -> bytes:
    stream = io.BytesIO()
    values = np.arange(np.prod(size), dtype=np.int64).reshape(size) % 251
    Image.fromarray(values.astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "status", "words"),
    [
        ("a.png", png(9, 7)[:40], 422, "a.png"),
        ("a.png", b"not a picture", 422, "a.png"),
        ("a.exe", png(9, 7), 422, "not an image"),
        ("a.png", png(9, 7, 3), 422, "3 channels"),
        ("big.png", png(40, 30), 413, "1,200 pixels"),
    ],
    ids=("cut short", "other content", "other ending", "other channels", "too large"),
)
def test_what_cannot_be_shown_is_not_taken(
    page: Asking, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, status: int, words: str
) -> None:
    monkeypatch.setattr(uploads, "MAX_PIXELS", 1000)
    answer = page.post("/api/uploads", content, name=name)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "plurimask-view" not in answer.text
    assert page.json("/api/images")["total"] == 5


def test_names_of_dropped_images_lead_nowhere(page: Asking) -> None:
    answer = page.post("/api/uploads", png(9, 7), name="..\\..\\x/../../\x07evil\n.png")
    assert (answer.status_code, answer.json()["name"]) == (201, "_evil_")


def test_the_oldest_upload_goes_when_there_are_too_many(page: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 2)
    numbers = [page.post("/api/uploads", png(9, 7), name=f"{one}.png").json()["id"] for one in range(3)]
    assert [row["id"] for row in page.json("/api/images")["images"][:3]] == [numbers[2], numbers[1], 0]
    assert page.get(f"/api/images/{numbers[0]}/image").status_code == 404


def test_runs_are_shown_side_by_side(
    make_desk: Callable[..., Desk], latent_run: Run, runs: Callable[[str], Path], lesion_folder: Path
) -> None:
    other = load_run(runs("m-heads"))
    with asking(make_desk(latent_run, other, data=lesion_folder)) as page:
        assert [one["latent"] for one in page.json("/api/session")["runs"]] == ["vector", None]
        first, second = (page.bundle("/api/images/0/prediction", run=number) for number in (0, 1))
        assert (first[0]["run"], second[0]["run"]) == (0, 1)
        assert not np.array_equal(first[1]["mean"].stored, second[1]["mean"].stored)
        assert page.json("/api/images/0/latent", run=1) == {"kind": None}
        assert page.get("/api/images/0/decode", run=1, x=0, y=0).status_code == 404
        assert page.get("/api/images/0/prediction", run=2).status_code == 404


def test_runs_of_other_data_are_not(make_desk: Callable[..., Desk], latent_run: Run) -> None:
    about = latent_run.record.data.model_copy(update={"channel_names": ("t1",)})
    other = Run(latent_run.folder, latent_run.record.model_copy(update={"data": about}), latent_run.method)
    with pytest.raises(InputError, match="channels are t1"):
        make_desk(latent_run, other)


def test_images_alone_have_no_raters(make_desk: Callable[..., Desk], latent_run: Run, lesion_folder: Path) -> None:
    with asking(make_desk(latent_run, data=lesion_folder / "train" / "images")) as page:
        told = page.json("/api/session")
        assert (told["data"]["num_images"], told["data"]["has_raters"], told["raters"]) == (12, False, [])
        assert "ged" not in told["sorts"]
        meta, arrays = page.bundle("/api/images/3/image")
        assert meta["raters"] == [] and "raters" not in arrays
        assert page.bundle("/api/images/3/prediction")[0]["scores"]["ged"] is None


def test_without_data_there_is_what_is_dropped_in(make_desk: Callable[..., Desk], latent_run: Run) -> None:
    with asking(make_desk(latent_run)) as page:
        assert page.json("/api/images")["total"] == 0
        assert page.get("/api/images/0/image").status_code == 404


def test_a_folder_of_images_is_listed_before_any_is_read(
    make_desk: Callable[..., Desk], latent_run: Run, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / "some").mkdir(exist_ok=True)
        (tmp_path / "some" / f"{number}.png").write_bytes(b"not a picture" if number == 1 else png(9, 7))
    with asking(make_desk(latent_run, data=tmp_path / "some")) as page:
        assert page.json("/api/images")["total"] == 3
        assert page.get("/api/images/0/prediction").status_code == 200
        for what in ("image", "prediction", "thumbnail"):
            answer = page.get(f"/api/images/1/{what}")
            assert answer.status_code == 422 and "1.png" in answer.json()["error"]


def test_while_data_are_opened_the_list_waits(desk: Desk) -> None:
    with asking(desk) as page:
        desk.gallery.is_opening = True
        assert page.json("/api/session")["data"]["state"] == "opening"
        answer = page.get("/api/images")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/images/99/image", 404),
        ("/api/images/x/image", 400),
        ("/api/images/-1/image", 400),
        ("/api/images/0/prediction?run=7", 404),
        ("/api/images?sort=size", 400),
        ("/api/images?limit=100000", 400),
        ("/api/images/0/preview?choice=%7B", 400),
        ("/api/images/0/preview?choice=%7B%22kind%22:%22sample%22,%22sample%22:5%7D", 404),
        ("/api/none", 404),
        ("/assets/none.js", 404),
        ("/../../etc/passwd", 404),
        ("/openapi.json", 404),
        ("/docs", 404),
    ],
)
def test_what_is_asked_wrongly_is_said_in_one_sentence(page: Asking, path: str, status: int) -> None:
    answer = page.get(path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"] and answer.json()["error"]


def test_memory_for_predictions_is_bounded(
    make_desk: Callable[..., Desk], latent_run: Run, lesion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "PREDICTION_BYTES", 50_000)
    one = make_desk(latent_run, data=lesion_folder)
    with asking(one) as page:
        sizes = [len(page.get(f"/api/images/{number}/prediction").content) for number in (0, 1, 2, 3, 4, 0)]
        assert sum(sizes) > 50_000 >= one.predictions.used and 1 <= len(one.predictions) < 5
