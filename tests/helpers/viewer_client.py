"""A page's requests, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.testclient import TestClient
from httpx import Response

from plurimask.viewer.app import build_app
from plurimask.viewer.bundle import unpack
from plurimask.viewer.desk import Desk
from plurimask.viewer.guard import Gate
from plurimask.viewer.work import Worker

PORT = 8123
ORIGIN = f"http://127.0.0.1:{PORT}"


class Asking:
    """A browser that has the cookie."""

    def __init__(self, desk: Desk, worker: Worker, gate: Gate) -> None:
        self.desk, self.worker, self.gate = desk, worker, gate
        self.client = TestClient(build_app(desk, worker, gate), base_url=ORIGIN, follow_redirects=False)
        answer = self.client.get("/", params={"token": gate.token})
        assert answer.status_code == 303

    def get(self, path: str, **query: Any) -> Response:
        return self.client.get(path, params=query or None)

    def json(self, path: str, **query: Any) -> Any:
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def bundle(self, path: str, **query: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return unpack(answer.content)

    def post(self, path: str, content: Any, **query: Any) -> Response:
        headers = {"origin": ORIGIN}
        if isinstance(content, bytes):
            return self.client.post(path, content=content, params=query, headers=headers)
        return self.client.post(path, json=content, params=query, headers=headers)

    def delete(self, path: str) -> Response:
        return self.client.delete(path, headers={"origin": ORIGIN})


@contextmanager
def asking(desk: Desk, with_spare: bool = False) -> Iterator[Asking]:
    """The server of a desk; the rest of its list is scored `with_spare` alone."""
    worker = Worker(desk.spare) if with_spare else Worker()
    try:
        yield Asking(desk, worker, Gate(PORT))
    finally:
        worker.close()
