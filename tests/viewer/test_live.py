"""The real server at a real port: many at once, hostile requests by the thousand, cancelling, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi", reason="the viewer is not installed: pip install 'plurimask[view]'")
pytest.importorskip("uvicorn", reason="the viewer is not installed: pip install 'plurimask[view]'")
pytest.importorskip("httpx", reason="the viewer's tests ask it by httpx, which is not installed")

import httpx
from viewer_process import started_viewer

from plurimask.errors import InputError
from plurimask.runs.load import Run
from plurimask.viewer.bundle import unpack
from plurimask.viewer.desk import Desk
from plurimask.viewer.serve import Server, is_loopback, listen

NUM_HOSTILE = int(os.environ.get("PLURIMASK_REQUESTS", "300"))
"""Of the hostile requests; continuous integration sends 10,000."""
SECRET = "Zx9-this-stands-in-no-answer-9xZ"


@pytest.fixture
def server(desk: Desk) -> Iterator[Server]:
    with Server(desk, port=_free_port()) as one:
        yield one


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def browser(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=60, follow_redirects=True) as client:
        assert client.get(server.link).status_code == 200
        yield client


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert server.address == f"http://127.0.0.1:{server.gate.port}/"
    assert server.socket.getsockname()[0] == "127.0.0.1"
    with browser(server) as client:
        assert "token" not in str(client.get(server.link).url)
        assert client.get("/api/session").json()["num_samples"] == 5
    assert httpx.get(f"{server.address}api/session").status_code == 403


def test_five_hundred_at_once_lose_nothing(server: Server) -> None:
    paths = ["session", "images?limit=5", *(f"images/{n}/{what}" for n in range(5) for what in ("image", "prediction"))]
    expected: dict[str, set[int]] = {}

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=500)
        async with httpx.AsyncClient(base_url=server.address, limits=limits, timeout=120) as client:
            await client.get(server.link)

            async def one(path: str) -> httpx.Response:
                while (answer := await client.get(f"/api/{path}")).status_code == 503:
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                return answer

            return await asyncio.gather(*(one(paths[number % len(paths)]) for number in range(500)))

    answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [200] * 500
    for answer in answers:
        if "octet-stream" in answer.headers["content-type"]:
            unpack(answer.content)
            expected.setdefault(answer.url.path, set()).add(hash(answer.content))
    assert len(expected) == 10 and all(len(contents) == 1 for contents in expected.values())


def test_who_goes_away_stops_the_work(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def endless(number: int, run: int, job: object, is_spare: bool = False) -> None:
        try:
            for count in range(2000):
                time.sleep(0.01)
                job.tell(f"x: mask {count} of 2000")
        finally:
            ended.append(job.phase)

    desk.work_list.is_paused = True
    monkeypatch.setattr(desk, "prediction", endless)
    with Server(desk, port=_free_port()) as server, browser(server) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get("/api/images/0/prediction", timeout=0.5)
        jobs = client.get("/api/jobs").json()["jobs"]
        for _ in range(100):
            if ended:
                break
            time.sleep(0.1)
        assert ended and re.fullmatch(r"mask \d{1,3} of 2000", ended[0])
        assert all((one["image"], one["run"], one["total"]) == (0, 0, 2000) for one in jobs)
        assert client.get("/api/jobs").json() == {"jobs": [], "waiting": 0}


def test_bundles_are_compressed_for_other_machines_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with browser(server) as client:
        near = client.get("/api/images/0/prediction")
        monkeypatch.setattr("plurimask.viewer.answers._is_near", lambda request: False)
        far = client.get("/api/images/0/prediction")
    assert "content-encoding" not in near.headers and far.headers["content-encoding"] == "gzip"
    assert near.content == far.content and int(far.headers["content-length"]) < len(near.content)


def test_small_answers_do_not_wait_for_each_other() -> None:
    with listen("127.0.0.1", None) as sock:
        assert sock.proto == socket.IPPROTO_TCP  # what asyncio goes by


def test_a_port_that_is_taken_is_said() -> None:
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
        with pytest.raises(InputError, match="taken by another program"):
            listen("127.0.0.1", second.getsockname()[1])
    with pytest.raises(InputError, match="leave it out"):
        listen("no such host.invalid", None)


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)]
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_command_says_where_to_look_and_ends_at_a_signal(
    runs: Callable[[str], Path], lesion_folder: Path, tmp_path: Path
) -> None:
    with started_viewer(runs("probabilistic-unet"), lesion_folder, "--out", tmp_path / "o") as viewer:
        with httpx.Client(follow_redirects=True, timeout=60) as client:
            assert client.get(viewer.link).status_code == 200
        viewer.process.send_signal(signal.SIGINT)
        assert viewer.process.wait(60) == 130
        assert viewer.process.stderr is not None
        assert "Traceback" not in viewer.process.stderr.read()
    assert not (tmp_path / "o").exists()


# ---- hostile requests ---------------------------------------------------------------------------------------------

_WORDS = [
    *("..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "%00", "%c0%ae%c0%ae", "....//", "\\..\\", "%2f", "~", ".", ""),
    *("etc", "passwd", "secret.png", "api", "images", "assets", "static", "uploads", "run.json", "index.html", "proc"),
    *("0", "1", "-1", "99999999999999999999", "1e3", "0x0", "NaN", "%F0%9F%92%A9", "%ff%fe", "a" * 300, "%", "%zz"),
]
_ROUTES = [
    *("/", "/api/session", "/api/images", "/api/position", "/api/jobs", "/api/scoring", "/api/undo", "/api/uploads"),
    *(
        f"/api/images/{n}/{what}"
        for n in (0, 1, 4)
        for what in ("image", "thumbnail", "latent", "prediction", "decode")
    ),
    *("/api/images/0/preview", "/api/images/0/save", "/api/images/2/save", "/api/uploads/10000000"),
]
_KEYS = [
    "run",
    "sort",
    "search",
    "offset",
    "limit",
    "image",
    "x",
    "y",
    "base",
    "levels",
    "choice",
    "name",
    "token",
    "q",
]
_VALUES = [
    *("0", "1", "-1", "1e309", "nan", "inf", "ged", "name", "0,0", "m,m", "m" * 500, "../../secret.png", "%00", "%ff"),
    *('{"kind":"sample","sample":0}', '{"kind":"union"}', '{"kind":' * 50, "[" * 2000, "a.png", "x/../../a.tif", ""),
]
_BODIES = [
    b"",
    b"{}",
    b"null",
    b"[" * 20000,
    b'{"a":' * 5000,
    b"\xff\xfe\x00",
    b'{"choice":{"kind":"sample","sample":0},"overwrite":true}',
    b'{"choice":{"kind":"mean","threshold":1e999}}',
    b'{"choice":{"kind":"sample","sample":"../../x"},"run":0}',
    b'{"choice":{"kind":"__class__"},"run":-5}',
    b'{"undo":99999999999999999999999}',
    b'{"paused":true}',
    b'{"paused":"' + b"9" * 5000 + b'"}',
    b"--x\r\nContent-Disposition: form-data; name=file; filename=../../a.png\r\n\r\nx\r\n--x--",
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\x06\x00\x00\x00",
    b"II*\x00\x08\x00\x00\x00\xff\xff",
]
_METHODS = ["GET"] * 8 + ["POST"] * 5 + ["DELETE", "HEAD", "PUT", "OPTIONS", "TRACE", "PATCH", "get", "X" * 40, "\x01"]


def hostile_request(chance: random.Random, server: Server) -> bytes:
    """One request that no page makes, as it goes over the line."""
    path = chance.choice(_ROUTES)
    if chance.random() < 0.5:
        path = "/" + "/".join(chance.choice(_WORDS) for _ in range(chance.randint(1, 7)))
    elif chance.random() < 0.3:
        path += chance.choice(["/", "//", "/..", "%2f..%2f..", ";x", "%00", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd"])
    if chance.random() < 0.1:
        path = chance.choice(["http://evil.example/", "//evil.example/", "*", "file:///etc/passwd", path[1:]])
    if chance.random() < 0.6:
        pairs = [(chance.choice(_KEYS), chance.choice(_VALUES)) for _ in range(chance.randint(1, 4))]
        encode: Callable[[str], str] = quote if chance.random() < 0.7 else str
        path += "?" + "&".join(f"{key}={encode(value)}" for key, value in pairs)
    origin = server.address.rstrip("/")
    host = origin.removeprefix("http://")
    headers = [("Host", host), ("Origin", origin), ("Cookie", f"{server.gate.cookie}={server.gate.session}")]
    if chance.random() < 0.25:
        place = chance.randrange(3)
        bad = chance.choice(["evil.example", "null", "", "a" * 2000, "\x7f", host + "@evil", "x=y; " * 50])
        headers[place] = (headers[place][0], bad)
    if chance.random() < 0.1:
        headers.pop(chance.randrange(len(headers)))
    if chance.random() < 0.2:
        headers.append(
            chance.choice(
                [
                    ("Sec-Fetch-Site", "cross-site"),
                    ("X-Forwarded-For", "127.0.0.1"),
                    ("X-Forwarded-Host", "evil.example"),
                    ("X-Original-URL", "/../../etc/passwd"),
                    ("Range", "bytes=0-99999999999999"),
                    ("Expect", "100-continue"),
                    ("Upgrade", "websocket"),
                    ("Accept-Encoding", "gzip, br"),
                    ("Host", "evil.example"),
                ]
            )
        )
    body = chance.choice(_BODIES)
    kind = chance.choice(
        ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-pickle", ""]
    )
    headers.append(("Content-Type", kind))
    length = chance.random()
    if length < 0.85:
        headers.append(("Content-Length", str(len(body))))
    elif length < 0.9:
        headers.append(("Content-Length", chance.choice(["-1", "x", "99999999999999999999", "1, 2", "+3"])))
    elif length < 0.95:
        headers.append(("Transfer-Encoding", "chunked"))
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chance.random() < 0.5 else b"zz\r\n" + body
    lines = [f"{chance.choice(_METHODS)} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace") + body


def answer_of(port: int, request: bytes) -> bytes:
    """All that comes back; nothing where the server hangs up."""
    parts: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        try:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(2**20):
                parts.append(part)
        except (ConnectionResetError, BrokenPipeError):
            pass
    return b"".join(parts)


def test_hostile_requests_get_nothing_and_break_nothing(
    make_desk: Callable[..., Desk],
    latent_run: Run,
    lesion_folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "secret.png").write_text(SECRET)
    (tmp_path / "run.json").write_text(SECRET)
    data = tmp_path / "data"
    data.mkdir()
    for path in sorted((lesion_folder / "val" / "images").iterdir())[:3]:
        (data / path.name).write_bytes(path.read_bytes())
    (data / "z.png").symlink_to(tmp_path / "secret.png")
    there = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    chance = random.Random(0)
    codes: dict[int, int] = {}
    with Server(make_desk(latent_run, data=data), port=_free_port()) as server:
        for _ in range(NUM_HOSTILE):
            request = hostile_request(chance, server)
            answer = answer_of(server.gate.port, request)
            for word in (SECRET.encode(), b"root:", b"Traceback", b'File "', server.gate.token.encode()):
                assert word not in answer, (request, answer)
            code = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
            codes[code] = codes.get(code, 0) + 1
            assert code != 500, (request, answer)
            if code in (200, 201) and b"octet-stream" in answer:
                assert b"PLM1" in answer
        with browser(server) as client:
            assert client.get("/api/session").json()["data"]["num_images"] == 4
            assert client.get("/api/images/3/image").status_code == 403
    assert {200, 400, 403, 404, 405} <= set(codes), codes
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == there
    for path in (tmp_path / "out").rglob("*.json"):
        json.loads(path.read_text())
    assert "Traceback" not in capfd.readouterr().err
