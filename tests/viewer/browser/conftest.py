"""A run that knows several readings, the real server on it, and a real browser; without one, no test here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attack import run

pytest.importorskip("fastapi", reason="the viewer is not installed: pip install 'plurimask[view]'")
playwright = pytest.importorskip("playwright.sync_api", reason="no browser is driven here: pip install playwright")

from viewer_page import Viewer  # noqa: E402
from viewer_process import CHROMIUM, FLAGS, NO_BROWSER, started_viewer  # noqa: E402

from plurimask.data.worlds.lesions import lesion_source, write_folder  # noqa: E402

SIZE = {"width": 1280, "height": 720}
SMALL = ["--preset", "small", "--channels", "8", "16", "24", "--num-validations", "1", "--validation-samples", "2"]


@pytest.fixture(scope="session")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewed") / "data"
    write_folder(lesion_source(num_train=24, num_val=6, seed=3, size=48), folder)
    return folder


@pytest.fixture(scope="session")
def runs(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One with a latent vector, trained until its samples differ, and one with latents at several scales."""
    folder = tmp_path_factory.mktemp("runs")
    plain, scales = folder / "plain", folder / "scales"
    settings = [
        "--latent-dim",
        "3",
        "--head-convs",
        "1",
        "--convs-per-scale",
        "1",
        "--beta",
        "0.1",
        "--batch-size",
        "8",
    ]
    settings += ["--learning-rate", "0.004", "--max-steps", "150"]
    train = ["train", str(lesions), *SMALL]
    assert run([*train, "--method", "probabilistic-unet", "--out", str(plain), *settings])[0] == 0
    levels = ["--latent-dims", "1", "1", "--max-steps", "40", "--batch-size", "4", "--warmup-steps", "0"]
    assert run([*train, "--method", "hierarchical-probabilistic-unet", "--out", str(scales), *levels])[0] == 0
    return plain, scales


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where masks are saved."""
    return tmp_path_factory.mktemp("saved") / "masks"


@pytest.fixture(scope="session")
def link(lesions: Path, runs: tuple[Path, Path], saved: Path) -> Iterator[str]:
    """The address with its token that `plurimask view` prints."""
    with started_viewer(runs[0], lesions, "--beside", runs[1], "--out", saved) as viewer:
        yield viewer.link


@pytest.fixture(scope="session")
def browser() -> Iterator[playwright.Browser]:
    if CHROMIUM is None:
        pytest.skip(NO_BROWSER)
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def context(browser: playwright.Browser) -> Iterator[playwright.BrowserContext]:
    """A browser's window that reaches nothing but this machine."""
    asked: list[str] = []
    with browser.new_context(viewport=SIZE, color_scheme="dark") as opened:
        opened.set_default_timeout(20_000)

        def look(route: playwright.Route) -> None:
            if urlsplit(route.request.url).hostname == "127.0.0.1":
                route.continue_()
            else:
                asked.append(route.request.url)
                route.abort()

        opened.route("**/*", look)
        yield opened
    assert asked == [], "the page asked for something that is not on this machine"


@pytest.fixture
def viewer(context: playwright.BrowserContext, link: str) -> Iterator[Viewer]:
    """A page with the first image of the work list; it may not complain while the test runs."""
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type == "error" and "status of 4" not in said.text else None,
    )
    page.goto(link)
    parts = urlsplit(link)
    opened = Viewer(page, f"{parts.scheme}://{parts.netloc}/")
    opened.settle()
    yield opened
    assert complaints == []
