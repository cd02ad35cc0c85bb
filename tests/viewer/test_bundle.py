"""Bundles: what comes out is what went in, laid out as the page reads it."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest

from plurimask.viewer.bundle import MAX_PIXELS, Scaled, pack, scaled, step_of, unpack


def test_what_is_packed_comes_out() -> None:
    arrays = {
        "labels": np.arange(15, dtype=np.uint8).reshape(3, 5),
        "deep": np.arange(6, dtype=np.uint16).reshape(1, 2, 3) * 9000,
        "real": np.array([0.5, -2.25], dtype=np.float32),
        "share": scaled(np.array([[0.0, 0.25], [0.5, 1.0]]), 1.0),
    }
    meta, out = unpack(pack({"name": "ä", "number": math.nan, "pair": (1, 2)}, arrays))
    assert meta == {"name": "ä", "number": None, "pair": [1, 2]}
    for name in ("labels", "deep", "real"):
        assert np.array_equal(out[name], arrays[name]) and out[name].dtype == arrays[name].dtype
    assert isinstance(out["share"], Scaled)
    assert np.allclose(out["share"].values, [[0, 0.25], [0.5, 1]], atol=0.5 / 65535)


def test_the_layout_is_the_one_of_the_contract() -> None:
    content = pack({"a": 1}, {"first": np.array([7, 8, 9], np.uint8), "second": np.array([258], np.uint16)})
    assert content[:4] == b"PLM1"
    (length,) = struct.unpack("<I", content[4:8])
    assert length % 8 == 0
    told = json.loads(content[8 : 8 + length])
    assert told["arrays"]["second"] == {"dtype": "uint16", "shape": [1], "offset": 8}
    assert content[8 + length :][:3] == b"\7\x08\t"
    assert content[8 + length + 8 :][:2] == b"\x02\x01"


def test_values_beyond_the_scale_are_the_nearest() -> None:
    out = scaled(np.array([-0.1, 0.3, 0.8, np.nan]), 0.6)
    assert out.stored.tolist() == [0, 32768, 65535, 0]
    assert out.values == pytest.approx([0, 0.3, 0.6, 0], abs=1e-5)


def test_other_types_are_not_sent() -> None:
    with pytest.raises(ValueError, match="int64"):
        pack({}, {"wide": np.arange(3)})


@pytest.mark.parametrize(("size", "step"), [((10, 20), 1), ((2048, 2048), 1), ((2049, 2048), 2), ((4096, 4097), 3)])
def test_large_images_are_thinned_until_they_are_small_enough(size: tuple[int, int], step: int) -> None:
    assert step_of(size) == step
    rows, columns = (len(range(0, length, step)) for length in size)
    assert rows * columns <= MAX_PIXELS
