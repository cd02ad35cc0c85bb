"""Makes the pictures of the viewer in docs/images/: what a browser shows of a real run, nothing drawn by hand.

    plurimask demo --out demo
    plurimask train demo/data --method dropout-unet --channels 16 32 64 --batch-size 8 --max-steps 600 --out dropout
    plurimask train demo/data --method hierarchical-probabilistic-unet --channels 8 16 32 --latent-dims 1 1 1 \\
        --convs-per-block 2 --batch-size 8 --max-steps 1500 --out scales
    python docs/figures/viewer.py demo/run demo/data --beside dropout --scales scales

Needs a Chromium and `pip install playwright`. Half a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from small_png import write_small
from viewer_process import CHROMIUM, FLAGS, NO_BROWSER, started_viewer

WIDTH, HEIGHT = 1280, 720


class View(NamedTuple):
    """One picture: what the address holds, what a person does then, and in which colours."""

    name: str
    address: str
    act: Callable[[Page], object] = lambda page: None
    colours: str = "dark"
    size: tuple[int, int] = (WIDTH, HEIGHT)
    run: int = 0
    """Whose images {0}, {1} ... of the address are: those of the most disagreement; of another run than the first, the
    least among which no reading has most of the samples."""


def drag_point(page: Page) -> None:
    """The point of the explorer, from the middle to below it."""
    page.locator(".plane").scroll_into_view_if_needed()
    page.locator("aside").evaluate("side => side.scrollTo(0, side.scrollHeight)")
    box = page.locator(".plane").bounding_box()
    if box is None:
        raise SystemExit("the run has no plane of latents: give a Probabilistic U-Net")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.06 * box["width"], y + 0.13 * box["height"], steps=8)
    page.mouse.up()


def redraw(page: Page) -> None:
    """Of a mask that marks something another draw of the finest scale, the others held."""
    page.keyboard.press("ArrowDown")
    settle(page)
    page.locator("aside").evaluate("side => side.scrollTo(0, side.scrollHeight)")
    page.locator(".scales li").last.get_by_role("button", name="redraw").click()


def save_mean(page: Page) -> None:
    page.locator(".save").get_by_role("button", name="Mean").click()
    page.get_by_label("Threshold of the mean probability").fill("0.3")
    page.locator(".picture canvas[data-shown='mean:0.3']").wait_for()
    page.locator("#save").click()
    page.get_by_text("Saved as").wait_for()
    page.locator(".row .saved").first.wait_for()


VIEWS = (
    View("overview", "image={0}", lambda page: page.keyboard.press("ArrowDown")),
    View("agreement", "image={1}&layers=bands,raters&zoom=1.6,0.5,0.5"),
    View("maps", "image={1}&layers=mask&map=mutual_information", lambda page: page.keyboard.press("ArrowDown")),
    View("explorer", "image={0}&layers=mask,raters", drag_point),
    View("scales", "image={0}&run=2&layers=mask,all,raters", redraw, run=2),
    View("beside", "image={0}&beside=1", lambda page: page.keyboard.press("ArrowDown")),
    View("saved", "image={2}&layers=mask", save_mean, "light"),
    View("tablet", "image={0}", lambda page: page.keyboard.press("ArrowDown"), "light", (820, 1180)),
)


def settle(page: Page) -> None:
    page.wait_for_selector(".picture canvas[data-shown]:not([data-shown=''])")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)


def worst(page: Page, address: str, run: int) -> list[int]:
    """The images with several readings, as in `View.run`, once all are scored."""
    page.goto(f"{address}#run={run}")
    page.reload()
    settle(page)
    page.wait_for_function(
        "() => !document.querySelector('.worklist').innerText.includes('so far')", timeout=600_000, polling=500
    )
    page.reload()
    settle(page)
    ask = f"fetch('/api/images?run={run}&sort=disagreement&offset=0&limit=60').then(answer => answer.json())"
    rows = page.evaluate(ask)["images"][:: -1 if run else 1]
    shares = {int(row["id"]): row["scores"]["readings"] for row in rows}
    several = [
        number for number, one in shares.items() if 2 <= len(one) <= 4 + (run > 0) and (not run or one[0] <= 0.5)
    ]
    return [*several, *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--beside", type=Path, required=True, help="a second run")
    parser.add_argument("--scales", type=Path, required=True, help="a run of a hierarchical Probabilistic U-Net")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "images")
    parser.add_argument("--views", nargs="+", help="only these")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit(NO_BROWSER)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        words = (options.run, options.data, "--out", Path(folder) / "masks", "--beside", options.beside, options.scales)
        with started_viewer(*words) as viewer:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(viewer.link)
            settle(page)
            images: dict[int, list[int]] = {}
            for view in VIEWS:
                if options.views and view.name not in options.views:
                    continue
                if view.run not in images:
                    images[view.run] = worst(page, viewer.address, view.run)
                page.emulate_media(color_scheme="light" if view.colours == "light" else "dark")
                page.set_viewport_size({"width": view.size[0], "height": view.size[1]})
                page.goto(f"{viewer.address}#{view.address.format(*images[view.run])}")
                page.reload()
                settle(page)
                view.act(page)
                settle(page)
                write_small(page.screenshot(), options.out / f"viewer-{view.name}.png")
        browser.close()


if __name__ == "__main__":
    main()
