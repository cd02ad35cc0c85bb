"""The report beside the viewer, of one run: the same colours, no page that scrolls sideways, and what is on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack import run
from playwright.sync_api import Browser, Page
from viewer_page import Viewer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

NAMES = re.findall(
    r"(--[\w-]+): ", (Path(__file__).parents[3] / "src/plurimask/report/theme.css").read_text(encoding="utf-8")
)
COLOURS = """names => {
    const probe = document.body.appendChild(document.createElement("i"));
    const colours = names.map(name => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; });
    probe.remove();
    return colours;
}"""
IS_SHOWN = "one => one.checkVisibility({ contentVisibilityAuto: true, opacityProperty: true })"


@pytest.fixture(scope="session")
def report(runs: tuple[Path, Path], lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    code, printed = run(["report", str(runs[0]), str(lesions), "--out", str(out)])
    assert code == 0, printed
    return out


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    asked: list[str] = []
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        opened = context.new_page()
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(report.as_uri())
        yield opened
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_report_has_the_colours_of_the_viewer(page: Page, viewer: Viewer, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    viewer.page.emulate_media(color_scheme=scheme)
    own = page.evaluate(COLOURS, NAMES)
    assert own == viewer.page.evaluate(COLOURS, NAMES)
    assert len(set(own)) > 10
    grounds = [one.evaluate("getComputedStyle(document.body).backgroundColor") for one in (page, viewer.page)]
    assert grounds[0] == grounds[1] == own[NAMES.index("--page")]


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_the_report_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    cut = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter(one => {
            const box = one.getBoundingClientRect(), inside = one.closest(".wide, .figure, .ruler");
            return box.width && !inside && box.right > innerWidth + 0.5;
        }).map(one => one.outerHTML.slice(0, 80))"""
    )
    assert cut == []


def test_a_reading_opens_its_sample_and_arrows_lead_on(page: Page) -> None:
    page.locator(".readings a").first.click()
    said = page.locator("dialog form span")
    first = said.text_content() or ""
    assert re.search(r": sample \d+$", first)
    page.keyboard.press("ArrowRight")
    assert said.text_content() != first
    page.keyboard.press("Escape")
    assert not page.locator("dialog").evaluate("dialog => dialog.open")


def test_on_paper_what_is_folded_is_open(page: Page) -> None:
    def shown(selector: str) -> bool:
        return bool(page.locator(selector).first.evaluate(IS_SHOWN))

    assert not shown("#data td") and not shown(".metrics td") and shown("nav")
    page.emulate_media(media="print", color_scheme="dark")
    assert shown("#data td") and shown(".metrics td") and shown("#conventions li")
    assert not shown("nav") and not shown(".samples img") and not shown("#run .left-out td")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(COLOURS, ["--ink"]) == ["rgb(31, 35, 40)"]
