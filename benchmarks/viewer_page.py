"""How fast the viewer's page is, in a browser: the first picture, the latent explorer, flipping, and a long work list.

    python benchmarks/viewer_page.py --out benchmarks/results/viewer_page.json

Needs a Chromium and `pip install playwright`. Server, run and data are those of viewer.py. Times are the page's own:
from the event to the painted canvas. A flip is a key at every frame of the screen; beside it stand the frames of a page
that does nothing, since a browser without a screen is not steady either.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from record import record, write
from viewer_process import CHROMIUM, FLAGS, NO_BROWSER

from viewer import NUM_LISTED, SIZES, Viewer, many_images, milliseconds, train, viewing

NUM_DRAGS, NUM_FRAMES = 150, 240

WATCH = """() => {
    window.painted = [];  // when a mask was painted, and which
    addEventListener("DOMContentLoaded", () => new MutationObserver(changes => {
        const shown = changes.map(change => change.target.dataset.shown).filter(Boolean);
        painted.push(...shown.map(word => [performance.now(), word]));
    }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-shown"] }));
}"""
DRAG = """async ([left, top, width, height, count]) => {
    const plane = document.querySelector(".plane"), times = [];
    for (let k = 0; k < count; k++) {
        const x = left + width * (0.5 + 0.3 * Math.sin(k / 9)), y = top + height * (0.5 + 0.3 * Math.cos(k / 7));
        const before = painted.length, start = performance.now();
        plane.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
        while (painted.length === before && performance.now() < start + 10000)
            await new Promise(done => setTimeout(done, 0));
        times.push((performance.now() - start) / 1000);
    }
    return times;
}"""
FRAMES = """async ([count, key]) => {
    const frames = [], before = painted.length;
    for (let k = 0; k <= count; k++) {
        frames.push(await new Promise(requestAnimationFrame));
        if (key) document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
    await new Promise(requestAnimationFrame);
    return [frames.slice(1).map((time, k) => (time - frames[k]) / 1000), painted.length - before];
}"""


def opened(browser: Browser, viewer: Viewer, view: str = "") -> Page:
    """A new window on a view, as a person opens it."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.add_init_script(f"({WATCH})()")
    page.goto(f"{viewer.link}#{view}")
    page.wait_for_selector(".picture canvas[data-shown]:not([data-shown=''])", timeout=120_000)
    return page


def frames(page: Page, key: str | None) -> dict[str, Any]:
    """The time from frame to frame; one that took more than one and a half frames of 60 a second was dropped."""
    seconds, painted = page.evaluate(FRAMES, [NUM_FRAMES, key])
    dropped = sum(one > 1.5 / 60 for one in seconds)
    return {"frames": len(seconds), "dropped": dropped, "painted": painted, **milliseconds(seconds)}


def measure_size(browser: Browser, work: Path, size: int) -> dict[str, Any]:
    data, run = train(work, size)
    with viewing(run, data, work) as viewer:
        viewer.wait_for_list()
        viewer.pause()
        page = opened(browser, viewer, "image=0&sort=name")
        first = page.evaluate("painted[0][0]")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1000)
        plane = page.locator(".plane")
        plane.scroll_into_view_if_needed()
        box = plane.bounding_box()
        if box is None:
            raise SystemExit("the page has no plane of latents")
        place = [box["x"], box["y"], box["width"], box["height"]]
        page.mouse.move(place[0] + place[2] / 2, place[1] + place[3] / 2)
        page.mouse.down()
        page.wait_for_timeout(500)
        drags = page.evaluate(DRAG, [*place, NUM_DRAGS + 5])[5:]
        page.mouse.up()
        page.reload()
        page.wait_for_selector(".picture canvas[data-shown]:not([data-shown=''])")
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(2000)
        still, flipping = frames(page, None), frames(page, "ArrowRight")
        page.close()
        return {
            "first_picture_ms": round(first),
            "latent": milliseconds(drags),
            "frames_of_a_still_page": still,
            "frames_while_flipping": flipping,
        }


def measure_list(browser: Browser, run: Path, work: Path) -> dict[str, Any]:
    """A folder of 5,000 images: from opening the page to the list, and from a jump to its middle to the rows there."""
    folder = many_images(work)
    with viewing(run, folder, work) as viewer:
        viewer.wait_for_list()
        viewer.pause()
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(f"{viewer.link}#sort=name")
        page.wait_for_selector(".row")
        listed = page.evaluate("performance.now()")
        page.wait_for_load_state("networkidle")  # the first image is brought into sight once it is known where it is
        start = page.evaluate("document.querySelector('.rows').scrollTo(0, 72 * 2500), performance.now()")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.row')].some(row => row.innerText.includes('scan-2500'))"
        )
        jumped = page.evaluate("performance.now()") - start
        rows = page.locator(".row").count()
        page.close()
    return {"num_images": NUM_LISTED, "list_ms": round(listed), "jump_ms": round(jumped), "rows_in_the_page": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit(NO_BROWSER)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        work = Path(folder)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page: dict[str, Any] = {f"{size} pixels": measure_size(browser, work, size) for size in SIZES}
        page["list"] = measure_list(browser, work / f"run-{SIZES[0]}", work)
        version = browser.version
        browser.close()
    config = {"method": "probabilistic-unet", "preset": "small", "num_samples": 16, "num_drags": NUM_DRAGS}
    content = record("viewer_page", {**config, "browser": f"Chromium {version}, without a screen"}, {"page": page})
    write(options.out, content)
    print(content)


if __name__ == "__main__":
    main()
