"""Who may look, and who can: refused requests, no network, keys alone, and readers of screens."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from viewer_page import Viewer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

AXE = Path(__file__).parents[3] / "viewer" / "node_modules" / "axe-core" / "axe.min.js"
TABLETS = ({"width": 1024, "height": 768}, {"width": 820, "height": 1180})


def test_without_the_token_nothing_is_shown(context, link: str) -> None:
    parts = urlsplit(link)
    stranger = context.new_page()
    for path in ("", "viewer.js", "api/session", "api/images/0/image", "?token=wrong"):
        answer = stranger.goto(f"{parts.scheme}://{parts.netloc}/{path}")
        assert answer is not None and answer.status == 403, path
        assert "plurimask" not in stranger.title()


def test_other_origins_and_files_outside_are_refused(viewer: Viewer) -> None:
    ask = viewer.page.request
    assert ask.get(f"{viewer.address}api/session").status == 200
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ask.get(f"{viewer.address}api/session", headers=headers).status == 403, headers
    assert ask.post(f"{viewer.address}api/undo", data={}, headers={"Origin": "null"}).status == 403
    for path in (
        "../pyproject.toml",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "static/../app.py",
        "/etc/passwd",
    ):
        answer = ask.get(viewer.address + path)
        assert answer.status in (400, 403, 404), path
        assert "root:" not in answer.text() and "Traceback" not in answer.text()


@pytest.fixture
def other_site(link: str) -> Iterator[str]:
    """A page at another port of this machine, which shows the viewer's page and one of its pictures."""
    viewer = link.split("?")[0]

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            html = f"<iframe src='{viewer}'></iframe><img src='{viewer}api/images/0/thumbnail'>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(html)))
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_another_site_cannot_look_in_or_ask(viewer: Viewer, context, other_site: str) -> None:
    """To the browser it is the same site, another port of one machine: the cookie goes along."""
    other, statuses = context.new_page(), []
    other.on("response", lambda answer: statuses.append(answer.status) if viewer.address in answer.url else None)
    other.goto(other_site)
    other.wait_for_load_state("networkidle")
    assert statuses and set(statuses) == {403}
    assert not any("plurimask" in frame.content() for frame in other.frames[1:])
    ask = f"fetch('{viewer.address}api/session', {{credentials: 'include'}}).then(() => 'read', () => 'refused')"
    assert other.evaluate(ask) == "refused"
    assert set(statuses) == {403}


def test_the_token_leaves_the_address_and_no_script_can_read_the_cookie(viewer: Viewer) -> None:
    assert "token" not in viewer.page.url
    assert viewer.page.evaluate("document.cookie") == ""
    (cookie,) = viewer.page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm --prefix viewer ci")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_readers_of_screens_find_nothing_serious(viewer: Viewer, scheme: str) -> None:
    for view in ("image=1&map=entropy&layers=mask,all,bands,raters", "image=1&mask=mean&beside=1", "image=1&run=1"):
        viewer.page.emulate_media(color_scheme=scheme)
        viewer.open(view)
        viewer.page.evaluate(AXE.read_text())
        found = viewer.page.evaluate(
            """axe.run().then(({ violations }) =>
                violations.map(one => [one.impact, one.id, one.nodes.map(node => node.html)]))"""
        )
        assert [one for one in found if one[0] in ("serious", "critical")] == []


def test_all_text_can_be_read_and_nothing_is_cut_off_at_the_side(viewer: Viewer) -> None:
    small = """() => [...document.querySelectorAll("#app *")].filter(one =>
        [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && one.getClientRects().length
        && parseFloat(getComputedStyle(one).fontSize) * (one.getScreenCTM ? one.getScreenCTM().a : 1) < 11.95
    ).map(one => one.outerHTML.slice(0, 80))"""
    for size in (TABLETS[0], TABLETS[1], {"width": 1280, "height": 720}):
        viewer.page.set_viewport_size(size)
        viewer.open("image=1&map=mean&layers=mask,bands,raters")
        assert viewer.page.evaluate(small) == [], size
        assert viewer.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
        cut = viewer.page.evaluate(
            """[...document.querySelectorAll("aside section, main > *")].filter(one =>
                one.scrollWidth > one.clientWidth + 1 && !one.matches(".strip")).map(one => one.className)"""
        )
        assert cut == [], size
        box = viewer.page.locator(".picture").bounding_box()
        assert box is not None and box["width"] >= 400 and box["height"] >= 250


def test_keys_alone_reach_everything_and_the_focus_is_seen(viewer: Viewer) -> None:
    viewer.open("image=1")
    reached, focus = (
        set(),
        """() => {
        const one = document.activeElement, style = getComputedStyle(one);
        const name = one === document.body ? "" : one.getAttribute("aria-label") || one.innerText || one.id;
        return [name, parseFloat(style.outlineWidth), style.outlineStyle];
    }""",
    )
    for _ in range(60):
        viewer.page.keyboard.press("Tab")
        name, width, style = viewer.page.evaluate(focus)
        reached.add(name.split("\n")[0].strip())
        if name:
            assert width >= 2 and style != "none", name
    wanted = {
        "Work list",
        "Run",
        "Second run, side by side",
        "Open image",
        "Copy link",
        "Search images by name",
        "Order of images",
    }
    wanted |= {"Mask", "All contours", "Agreement", "Raters", "Map", "Window", "Object", "Mean", "Union", "Undo"}
    assert wanted <= reached, wanted - reached
    assert any(name.startswith("Save sample") for name in reached)
    assert any(name.startswith("Point in the plane") for name in reached)
    assert any(name.startswith("Sample ") for name in reached)
    viewer.press("?")
    assert "flip through the samples" in viewer.page.get_by_role("dialog").inner_text()
    viewer.press("Escape")
    assert viewer.page.get_by_role("dialog").count() == 0


def test_colours_turn_and_stay(viewer: Viewer) -> None:
    def background() -> str:
        return str(viewer.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = background()
    viewer.page.get_by_role("button", name="Light colours").click()
    light = background()
    assert light != dark
    viewer.page.reload()
    viewer.settle()
    assert background() == light
