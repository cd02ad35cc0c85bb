"""The built files of the page, read once: what is not among them is not served."""

from __future__ import annotations

import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import Response

STATIC = "static"
_NOT_BUILT = (
    b"<!doctype html><meta charset=utf-8><title>plurimask</title><p>The page is not built: run `npm ci` and "
    b"`npm run build` in viewer/ of a checkout, or install plurimask from a wheel."
)
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


class Page:
    """By path, such as "viewer.js"."""

    def __init__(self) -> None:
        self.contents = dict(_below(files("plurimask.viewer") / STATIC, ""))
        self.contents.setdefault("index.html", _NOT_BUILT)

    def answer(self, path: str) -> Response | None:
        """A file; None if there is none of this path."""
        path = path or "index.html"
        if path not in self.contents:
            return None
        ending = f".{path.rpartition('.')[2]}"
        kind = _TYPES.get(ending) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        return Response(self.contents[path], media_type=kind)


def _below(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    """All files in a folder and below; none if it is not there."""
    if not folder.is_dir():
        return []
    found: list[tuple[str, bytes]] = []
    for one in folder.iterdir():
        path = f"{prefix}{one.name}"
        found += _below(one, f"{path}/") if one.is_dir() else [(path, one.read_bytes())]
    return found
