"""Several arrays with what is said about them as one answer, which a browser reads without a copy (`viewer/API.md`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAGIC = b"PLM1"
MAX_PIXELS = 2**22
"""Of larger images only every k-th row and column is sent."""
_ALIGNMENT = 8
_DTYPES = ("uint8", "uint16", "float32")


class Scaled(NamedTuple):
    """Numbers from 0 on, as `stored * scale`."""

    stored: NDArray[np.uint16]
    scale: float

    @property
    def values(self) -> NDArray[np.float64]:
        """The numbers as the browser has them."""
        return self.stored.astype(np.float64) * self.scale


def scaled(values: NDArray[Any], top: float) -> Scaled:
    """Values from 0 to `top` in 65,536 steps; what is beyond them is the nearest, and NaN is 0."""
    steps = np.nan_to_num(values.astype(np.float32) * np.float32(65535 / top), nan=0.0)
    return Scaled(np.rint(np.clip(steps, 0, 65535)).astype(np.uint16), top / 65535)


def step_of(size: tuple[int, int]) -> int:
    """Of an image of this height and width every k-th row and column is sent, so that they are at most `MAX_PIXELS`."""
    step = 1
    while -(-size[0] // step) * -(-size[1] // step) > MAX_PIXELS:
        step += 1
    return step


def pack(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any] | Scaled]) -> bytes:
    """A bundle. Arrays are uint8, uint16, float32 or `Scaled`; NaN in `meta` becomes null."""
    about: dict[str, Any] = {}
    parts: list[bytes] = []
    offset = 0
    for name, one in arrays.items():
        values = np.ascontiguousarray(one.stored if isinstance(one, Scaled) else one)
        if values.dtype.name not in _DTYPES:
            raise ValueError(f"{name}: arrays of {values.dtype.name} are not sent, expected one of {_DTYPES}")
        about[name] = {"dtype": values.dtype.name, "shape": list(values.shape), "offset": offset}
        if isinstance(one, Scaled):
            about[name]["scale"] = one.scale
        content = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        parts.append(content + bytes(-len(content) % _ALIGNMENT))
        offset += len(parts[-1])
    text = json.dumps(plain({"meta": meta, "arrays": about}), allow_nan=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, *parts])


def unpack(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any] | Scaled]]:
    """What was packed; the arrays are views of `content`."""
    if content[:4] != MAGIC:
        raise ValueError(f"a bundle begins with {MAGIC!r}, not {content[:4]!r}")
    start = 8 + int.from_bytes(content[4:8], "little")
    told = json.loads(content[8:start])
    arrays: dict[str, NDArray[Any] | Scaled] = {}
    for name, about in told["arrays"].items():
        count = int(np.prod(about["shape"], dtype=np.int64))
        dtype = np.dtype(about["dtype"]).newbyteorder("<")
        values = np.frombuffer(content, dtype, count, start + about["offset"]).reshape(about["shape"])
        arrays[name] = Scaled(values, about["scale"]) if "scale" in about else values
    return told["meta"], arrays


def plain(content: Any) -> Any:
    """The same for JSON, which knows no NaN and no infinity: null in their place; tuples are lists."""
    if isinstance(content, Mapping):
        return {name: plain(one) for name, one in content.items()}
    if isinstance(content, list | tuple):
        return [plain(one) for one in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
