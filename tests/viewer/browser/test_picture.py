"""What is painted, is what was predicted: looked at pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from viewer_page import CANVAS, Viewer, changed, has_colour, near, overlap

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

IMAGE = 1


@pytest.fixture
def prediction(viewer: Viewer):
    return viewer.bundle(f"api/images/{IMAGE}/prediction")


def test_the_image_is_in_the_middle_as_it_is_stored(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    stored = viewer.bundle(f"api/images/{IMAGE}/image").arrays["pixels"][0].astype(float)
    painted, there = viewer.pixels()[..., 1], viewer.on_screen(np.ones_like(stored)) > 0
    assert (
        np.corrcoef(viewer.on_screen(stored)[there], painted[there])[0, 1] > 0.97
    )  # between pixels it is interpolated
    assert painted[~near(there, 2)].max() == 0
    assert there.mean() > 0.4


def test_keys_flip_through_all_samples_in_place(viewer: Viewer, prediction) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    image = viewer.pixels()
    viewer.open(f"image={IMAGE}&layers=mask")
    samples, seen = prediction.arrays["samples"], set()
    for _ in samples:
        number = int(viewer.shown) - 1
        seen.add(number)
        mask = viewer.on_screen(samples[number]) == 1
        painted = changed(viewer.pixels(), image)
        assert overlap(painted, mask) > 0.7 if mask.any() else not painted.any(), number
        viewer.press("ArrowRight")
    assert seen == set(range(len(samples)))
    viewer.press("ArrowLeft")
    assert int(viewer.shown) - 1 in seen


def test_a_pointer_on_the_filmstrip_shows_a_sample_and_leaving_it_the_chosen_one(viewer: Viewer, prediction) -> None:
    viewer.open(f"image={IMAGE}&mask=2&layers=mask")
    before = viewer.pixels()
    other = max(range(16), key=lambda k: (prediction.arrays["samples"][k] != prediction.arrays["samples"][1]).sum())
    viewer.page.hover(f"[data-sample='{other}']")
    viewer.shows(str(other + 1))
    assert changed(viewer.pixels(), before).any()
    viewer.page.mouse.move(640, 300)
    viewer.shows("2")
    assert not changed(viewer.pixels(), before).any()
    viewer.page.click(f"[data-sample='{other}']")
    viewer.page.mouse.move(640, 300)
    viewer.shows(str(other + 1))
    assert f"mask={other + 1}" in viewer.view


def test_contours_of_all_samples_are_the_stronger_the_more_frequent(viewer: Viewer, prediction) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    image = viewer.pixels()
    viewer.press("a")
    painted = viewer.pixels()
    samples = [viewer.on_screen(one) == 1 for one in prediction.arrays["samples"]]
    edges = [near(one, 3) & ~near(~one, 3) | near(one, 3) & near(~one, 3) for one in samples]
    for one in samples:
        edge = near(one, 1) & near(~one, 1)
        assert not one.any() or changed(painted, image)[near(edge, 3)].any()
    assert not changed(painted, image)[~near(np.any(edges, axis=0), 2)].any()
    blue = (painted[..., 2] - painted[..., 0]) - (image[..., 2] - image[..., 0])
    count = np.sum([near(one, 1) & near(~one, 1) for one in samples], axis=0)
    frequent = count >= np.quantile(count[count > 0], 0.95)
    assert blue[frequent].mean() > 1.3 * blue[count == 1].mean()


def test_agreement_bands_are_where_samples_agree(viewer: Viewer, prediction) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    image = viewer.pixels()
    viewer.press("g")
    share = viewer.on_screen((prediction.arrays["samples"] == 1).mean(0))
    assert overlap(changed(viewer.pixels(), image), share >= 0.05) > 0.85
    assert viewer.page.locator(".legend").inner_text().split()[:6] == ["5", "%", "50", "%", "95", "%"]


def test_raters_have_contours_in_their_colours(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&layers=raters&zoom=2,0.5,0.5")
    about = viewer.bundle(f"api/images/{IMAGE}/image").meta
    marked = [one["colour"] for one, areas in zip(about["raters"], about["rater_areas"], strict=True) if areas[1]]
    assert marked and all(has_colour(viewer.pixels(), colour) for colour in marked)
    viewer.press("r")
    assert not any(has_colour(viewer.pixels(), colour) for colour in marked)


def test_maps_have_the_colours_of_their_bar(viewer: Viewer, prediction) -> None:
    for name, unit in (("mean", "1"), ("entropy", "nats"), ("mutual_information", "nats")):
        viewer.open(f"image={IMAGE}&layers=none&map={name}")
        viewer.page.get_by_label("Opacity of the map").fill("1")
        viewer.frame()
        values = prediction.arrays[name]
        values = values[1] if values.ndim == 3 else values
        on_screen, painted = viewer.on_screen(values), viewer.pixels().sum(-1)
        there = viewer.on_screen(np.ones_like(values)) > 0
        assert np.corrcoef(on_screen[there], painted[there])[0, 1] > 0.9, name  # both scales grow lighter
        assert unit in viewer.page.locator(".colour-bar").inner_text()


def test_a_drag_changes_brightness_and_contrast_and_reset_brings_them_back(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    before = viewer.pixels()
    viewer.page.mouse.move(600, 300)
    viewer.page.mouse.down(button="right")
    viewer.page.mouse.move(600, 420, steps=4)
    viewer.page.mouse.up(button="right")
    viewer.frame()
    assert viewer.pixels().mean() > before.mean() + 10
    assert "window=" in viewer.view
    viewer.page.get_by_role("button", name="Reset").click()
    viewer.frame()
    assert (viewer.pixels() == before).all()


def test_a_link_shows_the_same_view(viewer: Viewer, context) -> None:
    viewer.open(f"image={IMAGE}")
    viewer.press("ArrowRight", "a", "g", "e", "e")
    viewer.page.mouse.move(560, 260)
    viewer.page.mouse.wheel(0, -300)
    viewer.page.mouse.down()
    viewer.page.mouse.move(590, 280, steps=3)
    viewer.page.mouse.up()
    view, shown, pixels = viewer.view, viewer.shown, viewer.pixels()
    assert "zoom=" in view and "token" not in viewer.page.url
    other = Viewer(context.new_page(), viewer.address)
    other.page.goto(viewer.page.url)
    other.settle()
    assert other.shown == shown
    assert np.abs(other.pixels() - pixels).mean() < 1  # the address rounds the place
    assert view == other.view


def test_wheel_zooms_about_the_pointer_and_zero_shows_all_again(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    before = viewer.pixels()
    viewer.page.mouse.move(598, 330)
    viewer.page.mouse.wheel(0, -600)
    viewer.frame()
    assert changed(viewer.pixels(), before).mean() > 0.2
    viewer.press("0")
    assert (viewer.pixels() == before).all()


def test_two_runs_side_by_side_are_linked(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    viewer.press("b")
    viewer.page.locator(CANVAS).nth(1).wait_for()
    viewer.settle()
    assert viewer.page.locator(".stage-title").all_inner_texts() == ["plain", "scales"]
    assert not changed(viewer.pixels(0), viewer.pixels(1)).any()  # the same image, without masks
    viewer.page.mouse.move(400, 300)
    viewer.page.mouse.wheel(0, -400)
    viewer.frame()
    assert not changed(viewer.pixels(0), viewer.pixels(1)).any()
    viewer.press("m", "ArrowRight")
    assert [viewer.page.locator(CANVAS).nth(k).get_attribute("data-shown") for k in (0, 1)] == [viewer.shown] * 2
