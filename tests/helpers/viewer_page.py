"""The viewer's page as a person sees it: what it shows, in pixels, and what the server said."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

Pixels = NDArray[np.int16]

CANVAS = ".picture canvas"
_READ = """canvas => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let text = "";
    for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
    return [canvas.width, canvas.height, btoa(text)];
}"""


@dataclass(frozen=True)
class Bundle:
    meta: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def unpack(body: bytes) -> Bundle:
    """A bundle of the server, as viewer/API.md has it."""
    assert body[:4] == b"PLM1"
    (length,) = struct.unpack_from("<I", body, 4)
    head, arrays = json.loads(body[8 : 8 + length]), {}
    for name, one in head["arrays"].items():
        values = np.frombuffer(body, one["dtype"], int(np.prod(one["shape"])), 8 + length + one["offset"])
        arrays[name] = values.reshape(one["shape"]) * one.get("scale", 1)
    return Bundle(head["meta"], arrays)


@dataclass(frozen=True)
class Viewer:
    """A page, and the address that it was opened at."""

    page: Page
    address: str

    def open(self, view: str) -> None:
        """Shows the view of an address such as "image=3&mask=2", and waits for it."""
        self.page.goto(f"{self.address}#{view}")
        self.page.reload()  # a page that is open already stays otherwise, with what it had in hand
        self.settle()

    def settle(self) -> None:
        """Waits until a mask is shown and nothing is asked for."""
        self.page.wait_for_selector(f"{CANVAS}[data-shown]:not([data-shown=''])")
        self.page.wait_for_load_state("networkidle")
        self.frame()

    def frame(self) -> None:
        """Waits until what was done is on the screen."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.frame()

    def shows(self, word: str, stage: int = 0) -> None:
        """Waits until the mask of this word is painted: "3", "mean", "latent:..."."""
        self.page.locator(f"{CANVAS}[data-shown='{word}']").nth(stage).wait_for()

    @property
    def shown(self) -> str:
        return self.page.get_attribute(CANVAS, "data-shown") or ""

    @property
    def view(self) -> str:
        """What the address bar holds, once it follows."""
        self.page.wait_for_timeout(250)
        return str(self.page.evaluate("location.hash"))

    def pixels(self, stage: int = 0) -> Pixels:
        """What is painted: `(H, W, 3)`, 0 to 255."""
        width, height, text = self.page.locator(CANVAS).nth(stage).evaluate(_READ)
        read = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
        return read[..., :3].astype(np.int16)

    def get(self, path: str) -> Any:
        """An answer of the server."""
        return self.page.request.get(self.address + path).json()

    def bundle(self, path: str) -> Bundle:
        return unpack(self.page.request.get(self.address + path).body())

    def on_screen(self, values: NDArray[Any], zoom: tuple[float, float, float] = (1, 0.5, 0.5)) -> NDArray[Any]:
        """Values `(h, w)` of the image where its pixels are painted: `(H, W)`, 0 around it; by the nearest."""
        size = self.pixels().shape[:2]
        scale = zoom[0] * min(size[0] / values.shape[0], size[1] / values.shape[1])
        found = []
        for side, share, length in zip(size, (zoom[2], zoom[1]), values.shape, strict=True):
            at = (np.arange(side) + 0.5 - (side / 2 - share * length * scale)) / scale
            found.append(np.where((at >= 0) & (at < length), at.astype(int), -1))
        padded = np.pad(values, ((0, 1), (0, 1)))
        painted: NDArray[Any] = padded[np.ix_(*found)]
        return painted


def changed(one: Pixels, other: Pixels) -> NDArray[np.bool_]:
    """Where two pictures differ, for the eye."""
    return np.abs(one - other).sum(-1) > 12


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def near(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """All pixels within some pixels of a mask."""
    from scipy.ndimage import binary_dilation

    grown: NDArray[np.bool_] = binary_dilation(mask, iterations=reach)
    return grown


def has_colour(pixels: Pixels, colour: str, reach: int = 24) -> bool:
    """Whether some pixels have a colour such as "#E69F00", nearly."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return int((np.abs(pixels - wanted).max(-1) < reach).sum()) > 10
