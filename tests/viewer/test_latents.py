"""Latents that a person chooses: the samples that are shown are among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi", reason="the viewer is not installed: pip install 'plurimask[view]'")
pytest.importorskip("httpx", reason="the viewer's tests ask it by httpx, which is not installed")

from contract import CASES, built, tiny_settings
from viewer_client import asking

from plurimask.methods import build_method
from plurimask.runs.load import Run, load_run
from plurimask.viewer.desk import Desk
from plurimask.viewer.latents import Explorer, latent_kind

pytestmark = pytest.mark.usefixtures("precision")
WHERE = "/api/images/1/decode"
NEARLY = 0.01
"""Of the pixels may differ: those where two classes are equally likely, and sums are rounded in another order."""


def differing(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels that differ."""
    return float((one != other).mean())


@pytest.mark.parametrize("case", [case for case in CASES if not case.endswith("of volumes")])  # which are refused
def test_of_every_method_it_is_known_what_can_be_chosen(case: str) -> None:
    method = built(case).eval()
    expected = {
        "probabilistic-unet": "vector",
        "image2image-vae": "vector",
        "energy-score-unet": "vector",
        "hierarchical-probabilistic-unet": "scales",
    }
    assert latent_kind(method) == expected.get(CASES[case][0])


def test_without_a_posterior_no_rater_has_a_place(
    make_desk: Callable[..., Desk], latent_run: Run, lesion_folder: Path
) -> None:
    method = build_method("energy-score-unet", **tiny_settings("energy-score-unet")).eval()
    run = Run(latent_run.folder, latent_run.record, method)
    content = make_desk(run, data=lesion_folder).explorer(1, 0).content()
    assert content["raters"] == [] and len(content["samples"]) == 5 and content["axes"] == [0, 1]


def test_the_samples_lie_in_the_plane(desk: Desk) -> None:
    with asking(desk) as page:
        meta, arrays = page.bundle("/api/images/1/prediction")
        assert meta["latent"] == "vector"
        plane = page.json("/api/images/1/latent")
        assert (plane["kind"], plane["dims"], len(plane["samples"])) == ("vector", 6, 5)
        for number, (x, y) in enumerate(plane["samples"]):
            told, decoded = page.bundle(WHERE, x=x, y=y, base=number)
            assert differing(decoded["labels"], arrays["samples"][number]) < NEARLY
            assert np.abs(np.subtract(told["areas"], meta["areas"][number])).max() < NEARLY * 36 * 36
            assert np.array_equal(decoded["probability"].values > 0.5, decoded["labels"] == 1)


def test_the_axes_are_the_widest_of_the_prior(desk: Desk) -> None:
    explorer = desk.explorer(1, 0)
    prior = explorer.prediction.prior
    assert prior is not None
    sigma = prior.log_sigma[0].exp()
    widest = sorted(range(len(sigma)), key=lambda axis: -float(sigma[axis]))[:2]
    content = explorer.content()
    assert content["axes"] == sorted(widest)
    assert content["names"] == [f"latent {axis + 1}" for axis in sorted(widest)]


def test_the_raters_lie_where_their_posteriors_do(desk: Desk) -> None:
    explorer = desk.explorer(1, 0)
    stored = desk.gallery.read(1)
    assert stored.example is not None
    content, prior = explorer.content(), explorer.prediction.prior
    assert [one["index"] for one in content["raters"]] == [0, 1, 2, 3]
    for one in content["raters"]:
        (posterior,) = explorer.prediction.posterior(stored.example.labels[one["index"]][None, None])
        for place, axis in enumerate(content["axes"]):
            mean, sigma = prior.mean[0, axis], prior.log_sigma[0, axis].exp()
            assert one["mean"][place] == pytest.approx(float((posterior.mean[0, 0, axis] - mean) / sigma), abs=1e-2)
            spread = posterior.log_sigma[0, 0, axis].exp() / sigma
            assert one["sigma"][place] == pytest.approx(float(spread), rel=1e-2)


def test_without_a_sample_the_other_latents_are_at_their_mean(desk: Desk) -> None:
    explorer = desk.explorer(1, 0)
    prior = explorer.prediction.prior
    latents = prior.mean[0].clone()
    axis = explorer.axes[1]
    latents[axis] += 1.5 * prior.log_sigma[0, axis].exp()
    expected = explorer.prediction.decode([latents[None, None]])[0, 0].softmax(0)[1]
    with asking(desk) as page:
        decoded = page.bundle(WHERE, x=0, y=1.5)[1]
    assert np.allclose(decoded["probability"].values, expected.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"x": 0}, 400),
        ({"x": 99, "y": 0}, 400),
        ({"x": "nan", "y": 0}, 400),
        ({"x": 0, "y": 0, "base": 5}, 404),
        ({"x": 0, "y": 0, "base": -1}, 400),
        ({"levels": "0,0"}, 400),
        ({"x": 0, "y": 0, "z": 0}, 400),
    ],
)
def test_points_that_are_none_are_refused(desk: Desk, query: dict[str, object], status: int) -> None:
    with asking(desk) as page:
        assert page.get(WHERE, **query).status_code == status


@pytest.fixture
def scales(make_desk: Callable[..., Desk], runs: Callable[[str], Path], lesion_folder: Path) -> Desk:
    return make_desk(load_run(runs("hierarchical-probabilistic-unet")), data=lesion_folder)


def test_scales_are_held_and_drawn_again(scales: Desk) -> None:
    with asking(scales) as page:
        samples = page.bundle("/api/images/1/prediction")[1]["samples"]
        told = page.json("/api/images/1/latent")
        assert told["kind"] == "scales"
        assert [(one["shape"], one["pixels"]) for one in told["levels"]] == [([2, 9, 9], [4, 4]), ([1, 18, 18], [2, 2])]
        for number in range(5):
            decoded = page.bundle(WHERE, levels=f"{number},{number}")[1]
            assert differing(decoded["labels"], samples[number]) < NEARLY
        before = page.bundle(WHERE, levels="3,200")[1]["probability"].stored  # beyond the samples: drawn for it
        assert differing(page.bundle(WHERE, levels="3,3")[1]["labels"], samples[3]) < NEARLY
        assert np.array_equal(page.bundle(WHERE, levels="3,200")[1]["probability"].stored, before)
        assert not np.array_equal(page.bundle(WHERE, levels="3,201")[1]["probability"].stored, before)
        assert not np.array_equal(page.bundle(WHERE, levels="4,200")[1]["probability"].stored, before)


def test_a_scale_at_its_mean_is_that_of_the_prior(scales: Desk) -> None:
    explorer = scales.explorer(1, 0)
    noise = explorer.prediction.draw_noise(1, at_mean=[0, 1])
    expected = explorer.prediction.logits(noise)[0, 0].softmax(0)[1]
    with asking(scales) as page:
        decoded = page.bundle(WHERE, levels="m,m")[1]
    assert np.allclose(decoded["probability"].values, expected.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("levels", "status"), [("0", 400), ("0,0,0", 400), ("0,x", 400), ("0,256", 400), ("-1,0", 400)]
)
def test_levels_that_are_none_are_refused(scales: Desk, levels: str, status: int) -> None:
    with asking(scales) as page:
        assert page.get(WHERE, levels=levels).status_code == status
        assert page.get(WHERE, x=0, y=0).status_code == 400


def test_a_chosen_point_can_be_saved(desk: Desk) -> None:
    with asking(desk) as page:
        choice = {"kind": "latent", "x": 1.0, "y": -0.5, "base": 2}
        shown = page.bundle(WHERE, x=1.0, y=-0.5, base=2)[0]["areas"]
        assert page.post("/api/images/1/save", {"choice": choice}).json()["areas"] == shown


def test_the_encoder_runs_once(desk: Desk, latent_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = type(latent_run.method).forward

    def counted(self: torch.nn.Module, images: torch.Tensor) -> object:
        calls.append(len(images))
        return original(self, images)

    monkeypatch.setattr(type(latent_run.method), "forward", counted)
    with asking(desk) as page:
        for x in np.linspace(-2, 2, 7):
            page.bundle(WHERE, x=float(x), y=0)
    assert calls == [1]


def test_encoded_images_are_counted(desk: Desk) -> None:
    explorer = desk.explorer(1, 0)
    assert isinstance(explorer, Explorer)
    assert explorer.num_bytes >= explorer.prediction.projected.nbytes > 36 * 36
    assert desk.explorers.used == explorer.num_bytes
