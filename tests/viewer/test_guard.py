"""Who may ask: the token, the cookie, Host, Origin and the length of what is sent; and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the viewer is not installed: pip install 'plurimask[view]'")
pytest.importorskip("httpx", reason="the viewer's tests ask it by httpx, which is not installed")

from fastapi.testclient import TestClient
from viewer_client import ORIGIN, PORT, Asking, asking

from plurimask.viewer import guard
from plurimask.viewer.desk import Desk
from plurimask.viewer.guard import CONTENT_POLICY, Gate

SESSION = "/api/session"


@pytest.fixture
def page(desk: Desk) -> Iterator[Asking]:
    with asking(desk) as one:
        yield one


def stranger(page: Asking) -> TestClient:
    """A client without the cookie."""
    return TestClient(page.client.app, base_url=ORIGIN, follow_redirects=False)


def test_the_token_becomes_a_cookie_and_leaves_the_address(page: Asking) -> None:
    client = stranger(page)
    answer = client.get("/", params={"token": page.gate.token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"plurimask_{PORT}=") and page.gate.token not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert client.get(SESSION).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/session", "/assets/x.js", "/api/images/0/image", "/none"])
def test_nothing_is_told_without_the_cookie(page: Asking, path: str) -> None:
    client = stranger(page)
    for cookie in (None, "plurimask_8123=", "plurimask_8123=x", f"plurimask_8123={page.gate.token}", "a=b; c"):
        answer = client.get(path, headers={} if cookie is None else {"cookie": cookie})
        assert answer.status_code == 403 and list(answer.json()) == ["error"]


@pytest.mark.parametrize("token", ["", "x", "é", "0" * 5000])
def test_a_wrong_token_is_none(page: Asking, token: str) -> None:
    answer = stranger(page).get("/", params={"token": token})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_a_token_for_one_time_is_good_for_one_time(page: Asking) -> None:
    token = page.gate.one_time_token()
    assert [stranger(page).get("/", params={"token": token}).status_code for _ in range(2)] == [303, 403]


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        (f"127.0.0.1:{PORT}", True),
        (f"localhost:{PORT}", True),
        (f"LOCALHOST:{PORT}", True),
        (f"[::1]:{PORT}", True),
        ("127.0.0.1", False),
        (f"127.0.0.1:{PORT + 1}", False),
        (f"evil.example:{PORT}", False),
        (f"127.0.0.1.evil.example:{PORT}", False),
        (f"192.168.0.7:{PORT}", False),
        (f"localhost:{PORT}:{PORT}", False),
        ("", False),
    ],
)
def test_other_names_of_this_address_are_refused(page: Asking, host: str, is_known: bool) -> None:
    assert page.client.get(SESSION, headers={"host": host}).status_code == (200 if is_known else 403)


@pytest.mark.parametrize(
    ("host", "is_known"),
    [(f"192.168.0.7:{PORT}", True), (f"[fe80::1]:{PORT}", True), (f"evil.example:{PORT}", False)],
)
def test_where_others_may_ask_addresses_are_known_and_names_are_not(host: str, is_known: bool) -> None:
    assert Gate(PORT, is_local=False).knows_host(host) is is_known


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"http://127.0.0.1:{PORT + 1}", f"https://127.0.0.1:{PORT}"]
)
def test_other_pages_are_refused(page: Asking, origin: str) -> None:
    assert page.client.get(SESSION, headers={"origin": origin}).status_code == 403
    answer = page.client.post("/api/scoring", json={"paused": True}, headers={"origin": origin})
    assert answer.status_code == 403
    assert not page.desk.work_list.is_paused


def test_what_changes_something_must_say_where_it_comes_from(page: Asking) -> None:
    assert page.client.post("/api/scoring", json={"paused": True}).status_code == 403
    assert page.client.delete("/api/uploads/10000000").status_code == 403
    assert not page.desk.work_list.is_paused


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)]
)
def test_what_another_site_makes_a_browser_ask_is_refused(page: Asking, site: str, status: int) -> None:
    assert page.client.get(SESSION, headers={"sec-fetch-site": site}).status_code == status


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused(page: Asking, method: str) -> None:
    answer = page.client.request(method, SESSION, headers={"origin": ORIGIN})
    assert answer.status_code == 405 and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", SESSION, "/none", "/api/images/0/image", "/api/images/99/image"])
def test_every_answer_forbids_what_it_does_not_need(page: Asking, path: str) -> None:
    for client in (page.client, stranger(page)):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_POLICY
        assert "unsafe" not in CONTENT_POLICY and "frame-ancestors 'none'" in CONTENT_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


def test_bodies_are_bounded(page: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = page.post("/api/scoring", b" " * (guard.MAX_BODY + 1))
    assert answer.status_code == 413
    headers = {"origin": ORIGIN}
    assert page.client.post("/api/uploads?name=a.png", content=iter([b"x"]), headers=headers).status_code == 411
    too_long = {**headers, "content-length": str(2**26 + 1)}
    assert page.client.post("/api/uploads?name=a.png", content=b"", headers=too_long).status_code == 413


def test_a_body_that_is_longer_than_it_said_is_refused(page: Asking) -> None:
    headers = {"origin": ORIGIN, "content-length": "15", "content-type": "application/json"}
    body = b'{"paused":true}' + b" " * guard.MAX_BODY
    assert page.client.post("/api/scoring", content=body, headers=headers).status_code in (400, 413)
    assert not page.desk.work_list.is_paused


def test_long_addresses_are_refused(page: Asking) -> None:
    assert page.client.get(SESSION, params={"x": "y" * 9000}).status_code == 413


def test_more_requests_than_can_be_answered_are_asked_to_come_again(
    page: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_AT_WORK", 0)
    answer = page.get(SESSION)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_what_goes_wrong_inside_is_said_without_how(
    page: Asking, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(number: int) -> bytes:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(page.desk, "image", broken)
    answer = page.get("/api/images/0/image")
    assert answer.status_code == 500
    assert answer.json() == {"error": guard.WENT_WRONG}
    assert "ZeroDivisionError: secret" in capsys.readouterr().err
    assert page.get(SESSION).status_code == 200


def test_files_that_lead_out_of_the_folder_are_not_read(page: Asking, lesion_folder: Path, tmp_path: Path) -> None:
    images = page.desk.gallery.opened.images
    name = images.names[0]
    own = lesion_folder / "val" / "images" / f"{name}.png"
    outside = tmp_path / "secret.png"
    own.rename(outside)
    own.symlink_to(outside)
    try:
        for what in ("image", "prediction", "thumbnail", "latent"):
            answer = page.get(f"/api/images/0/{what}")
            assert answer.status_code == 403 and "leads out" in answer.json()["error"]
    finally:
        own.unlink()
        outside.rename(own)
    assert page.get("/api/images/0/image").status_code == 200
