"""What is sent: bundles by and by, as fast as they are taken, and everything else whole."""

from __future__ import annotations

import gzip
import ipaddress
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from plurimask.errors import is_out_of_memory
from plurimask.viewer.bundle import plain
from plurimask.viewer.errors import Answer
from plurimask.viewer.guard import Denied, Message, Receive, Send
from plurimask.viewer.work import Cancelled, TooBusy

CHUNK = 2**18
"""Bytes of a bundle that are under way at a time."""
_LEAST_COMPRESSED = 1024
_NO_MEMORY = "the memory does not suffice for this image: show fewer --samples, or smaller images"


class BundleAnswer(Response):
    """A bundle.

    Args:
        content: of it.
        release: called once it is sent, or nobody takes it any more.
        is_compressed: whether `content` is.
    """

    media_type = "application/octet-stream"

    def __init__(self, content: bytes, release: Callable[[], None], is_compressed: bool) -> None:
        super().__init__(b"", headers={"content-encoding": "gzip"} if is_compressed else None)
        self.content, self.release = memoryview(content), release
        self.headers["content-length"] = str(len(content))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for start in range(0, len(self.content), CHUNK):
                part = bytes(self.content[start : start + CHUNK])
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.release()


def is_to_compress(request: Request, content: bytes) -> bool:
    """Whether an answer goes to another machine, which can take it compressed."""
    accepts = "gzip" in request.headers.get("accept-encoding", "")
    return accepts and len(content) >= _LEAST_COMPRESSED and not _is_near(request)


def compressed(content: bytes) -> bytes:
    """The same, compressed fast."""
    return gzip.compress(content, 1)


def _is_near(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def told(content: Any, status: int = 200) -> JSONResponse:
    """JSON, with null where there is no number."""
    return JSONResponse(plain(content), status)


def failed(error: Exception) -> JSONResponse:
    """What is said of an error that a person can mend, or that is nobody's fault."""
    if isinstance(error, Cancelled):
        return told({"error": "nobody waits for this any more"}, 499)
    if isinstance(error, TooBusy):
        return _later("too much is asked for at a time: ask again")
    if isinstance(error, Denied):
        return JSONResponse({"error": str(error)}, error.status, headers=dict(error.headers))
    if isinstance(error, Answer):
        content = {"error": str(error), **error.more}
        return _later(str(error)) if error.status == 503 else told(content, error.status)
    if is_out_of_memory(error):
        return told({"error": _NO_MEMORY}, 422)
    return told({"error": str(error)}, 422)


def _later(sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, 503, headers={"retry-after": "1"})
