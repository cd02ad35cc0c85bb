"""What is beside the picture: readings, areas, the explorer, the work list, saving, and own images."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Request
from viewer_page import CANVAS, Viewer, changed, overlap

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

IMAGE = 1


def test_readings_are_told_in_words_and_a_click_shows_one(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}")
    readings = viewer.bundle(f"api/images/{IMAGE}/prediction").meta["readings"]
    rows = viewer.page.locator(".reading")
    assert rows.count() == len(readings) > 1
    assert re.match("(Two|Three|Four|Five) plausible readings", viewer.page.locator(".readings h2").inner_text())
    for place, one in enumerate(readings):
        words = rows.nth(place).inner_text()
        assert words.startswith(f"{int(100 * one['share'] + 0.5)} %")
        assert ("nothing" in words) == one["empty"]
    rows.nth(1).click()
    viewer.shows(str(readings[1]["medoid"] + 1))
    assert rows.nth(1).get_attribute("aria-pressed") == "true"
    viewer.press("ArrowUp")
    viewer.shows(str(readings[0]["medoid"] + 1))


def test_areas_have_a_block_for_each_sample_and_a_mark_for_each_rater(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}")
    areas = [pixels[1] for pixels in viewer.bundle(f"api/images/{IMAGE}/prediction").meta["areas"]]
    about = viewer.bundle(f"api/images/{IMAGE}/image").meta
    blocks = viewer.page.locator(".areas .block")
    told = [int(text.split(": ")[1].split()[0]) for text in blocks.locator("title").all_text_contents()]
    assert told == areas
    lefts = [float(one.get_attribute("x") or 0) for one in blocks.all()]
    assert np.corrcoef(lefts, areas)[0, 1] > 0.98
    marks = viewer.page.locator(".areas g")
    assert [mark.get_attribute("stroke") for mark in marks.all()] == [one["colour"] for one in about["raters"]]


def test_the_mask_follows_a_point_that_is_dragged_with_one_request_at_work(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&layers=none")
    image = viewer.pixels()
    viewer.open(f"image={IMAGE}&layers=mask&mask=2")
    begun: list[Request] = []
    at_work, most = set(), 0

    def begins(request: Request) -> None:
        nonlocal most
        if "/decode" in request.url:
            begun.append(request)
            at_work.add(request)
            most = max(most, len(at_work))

    viewer.page.on("request", begins)
    viewer.page.on("requestfinished", lambda request: at_work.discard(request))
    plane = viewer.page.locator(".plane")
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    assert box is not None
    mouse, masks = viewer.page.mouse, []
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    for step in range(40):
        angle, reach = 2 * np.pi * step / 40, 0.3 * box["width"]
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse.move(x + reach * np.cos(angle), y + reach * np.sin(angle))
        if step % 10 == 9:
            viewer.settle()
            masks.append(viewer.pixels())
    mouse.up()
    viewer.settle()
    assert most == 1
    assert 4 <= len(begun) <= 42
    assert len({mask.tobytes() for mask in masks}) > 1, "the mask does not change"
    kind, place = viewer.shown.split(":")
    x, y, base = place.split(",")
    assert kind == "latent" and float(x) > 1
    decoded = viewer.bundle(f"api/images/{IMAGE}/decode?x={float(x):.4f}&y={float(y):.4f}&base={int(base) - 1}")
    mask = viewer.on_screen(decoded.arrays["labels"]) == 1
    painted = changed(viewer.pixels(), image)
    assert overlap(painted, mask) > 0.7 if mask.any() else not painted.any()


def test_keys_move_the_point_and_raters_are_in_the_plane(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&mask=latent:0,0")
    viewer.page.focus(".plane")
    viewer.press("ArrowRight", "ArrowRight", "ArrowUp")
    viewer.shows("latent:0.2,0.1")
    raters = viewer.get(f"api/images/{IMAGE}/latent")["raters"]
    assert viewer.page.locator(".plane ellipse").count() == len(raters) > 0


def test_scales_are_held_and_redrawn(viewer: Viewer) -> None:
    viewer.open(f"image={IMAGE}&run=1&mask=3")
    rows = viewer.page.locator(".scales li")
    assert rows.count() == 2
    assert rows.locator("output").all_inner_texts() == ["draw 3", "draw 3"]
    rows.nth(1).get_by_role("button", name="redraw").click()
    viewer.shows("scales:2,3")
    rows.nth(0).get_by_role("button", name="mean").click()
    viewer.shows("scales:m,3")


def test_the_work_list_has_the_worst_first_and_keys_step_through(viewer: Viewer) -> None:
    viewer.page.wait_for_function(
        "() => !document.querySelector('.worklist').innerText.includes('so far')", timeout=60_000
    )
    viewer.page.reload()
    viewer.settle()
    images = viewer.get("api/images?run=0&sort=disagreement&offset=0&limit=60")["images"]
    disagreements = [one["scores"]["disagreement"] for one in images]
    assert disagreements == sorted(disagreements, reverse=True)
    rows = viewer.page.locator(".row")
    assert [int(row.get_attribute("data-image") or -1) for row in rows.all()] == [one["id"] for one in images]
    viewer.page.wait_for_function("() => [...document.querySelectorAll('.row img')].every(one => one.naturalWidth > 0)")
    viewer.open(f"image={images[0]['id']}")
    viewer.press("j")
    viewer.page.locator(f".row[data-image='{images[1]['id']}'][aria-selected='true']").wait_for()
    assert viewer.page.locator("h1").inner_text() == images[1]["name"]
    viewer.press("k")
    viewer.page.locator(f".row[data-image='{images[0]['id']}'][aria-selected='true']").wait_for()
    viewer.page.focus(".rows")
    viewer.press("ArrowDown")
    viewer.page.locator(f".row[data-image='{images[1]['id']}'][aria-selected='true']").wait_for()
    viewer.press("/")
    viewer.page.keyboard.type(images[2]["name"][-5:])
    viewer.page.wait_for_function("() => document.querySelectorAll('.row').length === 1")
    assert rows.locator(".row-name").all_inner_texts() == [images[2]["name"]]


def test_a_mask_is_saved_as_it_is_shown_and_nothing_is_replaced_unasked(viewer: Viewer, saved: Path) -> None:
    viewer.open(f"image={IMAGE}&layers=mask")
    panel = viewer.page.locator(".save")
    panel.get_by_role("button", name="Mean").click()
    viewer.shows("mean")
    panel.get_by_label("Threshold of the mean probability").fill("0.2")
    viewer.shows("mean:0.2")
    prediction = viewer.bundle(f"api/images/{IMAGE}/prediction")
    wanted = prediction.arrays["mean"][1] >= 0.2
    panel.locator("#save").click()
    panel.get_by_text("Saved as").wait_for()
    file = next(saved.rglob("*.png"))
    written = np.asarray(Image.open(file))
    value = viewer.get("api/session")["classes"][1]["value"]
    assert set(np.unique(written)) == {0, value}
    assert ((written == value) != wanted).mean() < 0.01  # the mean is sent in steps of 1/65535
    record = json.loads(file.with_suffix(".json").read_text())
    assert record["choice"] == {"kind": "mean", "threshold": 0.2}
    viewer.page.locator(f".row[data-image='{IMAGE}'] .saved").wait_for()

    panel.get_by_role("button", name="Common").click()
    viewer.shows("intersection")
    viewer.press("s")
    panel.get_by_text("Replace it?").wait_for()
    assert (np.asarray(Image.open(file)) == written).all()
    panel.get_by_role("button", name="Replace").click()
    panel.get_by_text("Saved as").wait_for()
    common = (prediction.arrays["samples"] == 1).all(0)
    assert ((np.asarray(Image.open(file)) == value) == common).all()
    panel.locator("#undo").click()
    panel.get_by_text("the earlier mask is back").wait_for()
    assert (np.asarray(Image.open(file)) == written).all()
    viewer.press("u")
    panel.get_by_text("the mask is removed").wait_for()
    assert not file.exists()


def drop(viewer: Viewer, name: str, content: bytes) -> None:
    """A file that is let go over the page."""
    made = viewer.page.evaluate_handle(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(text), one => one.charCodeAt(0))], name));
            return transfer;
        }""",
        [name, base64.b64encode(content).decode()],
    )
    viewer.page.dispatch_event("body", "dragenter", {"dataTransfer": made})
    viewer.page.get_by_text("Drop a PNG, TIFF or JPEG").wait_for()
    viewer.page.dispatch_event("body", "drop", {"dataTransfer": made})


def test_an_image_that_is_dropped_in_is_predicted(viewer: Viewer, lesions: Path) -> None:
    file = next((lesions / "train" / "images").iterdir())
    before = viewer.page.locator("h1").inner_text()
    drop(viewer, "my scan.png", file.read_bytes())
    viewer.page.get_by_role("heading", name="my scan").wait_for()
    assert before != "my scan"
    viewer.settle()
    viewer.page.locator(".frame[data-sample]").nth(15).wait_for()
    viewer.page.locator(".row", has_text="my scan").first.wait_for()
    stored = np.asarray(Image.open(file)).astype(float)
    viewer.open(viewer.view.removeprefix("#") + "&layers=none")
    there = viewer.on_screen(np.ones_like(stored)) > 0
    assert np.corrcoef(viewer.on_screen(stored)[there], viewer.pixels()[..., 1][there])[0, 1] > 0.9


def test_what_is_no_image_is_told_in_words(viewer: Viewer) -> None:
    drop(viewer, "broken.png", b"\x89PNG\r\n\x1a\n and no more")
    viewer.page.locator(".toast", has_text="broken").wait_for()
    assert viewer.page.locator(".sending").count() == 0


def test_sending_is_cancelled(viewer: Viewer) -> None:
    before = viewer.shown
    viewer.page.route("**/api/uploads*", lambda route: None)  # never answered
    drop(viewer, "large.png", b"0" * 1000)
    viewer.page.locator(".sending").get_by_role("button", name="Cancel").click()
    viewer.page.locator(".sending").wait_for(state="detached")
    assert viewer.shown == before


def test_a_prediction_is_cancelled_and_begun_again(viewer: Viewer) -> None:
    held = []
    viewer.page.route("**/api/images/4/prediction*", lambda route: held.append(route))
    viewer.page.locator(".row[data-image='4']").click()
    cover = viewer.page.locator(".cover")
    cover.get_by_role("button", name="Cancel").click()
    cover.get_by_text("Cancelled").wait_for()
    assert viewer.page.locator(CANVAS).get_attribute("data-shown") == ""
    viewer.page.unroute("**/api/images/4/prediction*")
    cover.get_by_role("button", name="Try again").click()
    viewer.settle()
    assert held and viewer.shown != ""
