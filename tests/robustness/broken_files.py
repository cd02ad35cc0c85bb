"""Files that are cut, swapped, turned into pipes, or declare more than there is. Each says whether a refusal is due."""

from __future__ import annotations

import io
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from attack import pick
from PIL import Image

Damage = Callable[[Path, Any], bool]


# ---- any file -----------------------------------------------------------------------------------------------------


def cut(path: Path, rng: Any) -> bool:
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(0, len(content))])
    return False


def empty(path: Path, rng: Any) -> bool:
    path.write_bytes(b"")
    return False


def flip_bytes(path: Path, rng: Any) -> bool:
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, max(1, len(content)), 4 if content else 0):
        content[place] = rng.integers(256)
    path.write_bytes(bytes(content))
    return False


def noise(path: Path, rng: Any) -> bool:
    path.write_bytes(path.read_bytes()[: rng.integers(9)] + rng.bytes(200))
    return False


def zeros(path: Path, rng: Any) -> bool:
    path.write_bytes(bytes(path.stat().st_size))
    return False


def longer(path: Path, rng: Any) -> bool:
    with path.open("ab") as stream:
        stream.write(rng.bytes(50) if rng.random() < 0.5 else bytes(50))
    return False


def huge(path: Path, rng: Any) -> bool:
    """A file with a hole: large, and little on disk."""
    os.truncate(path, 2**36)
    return False


def a_folder(path: Path, rng: Any) -> bool:
    path.unlink()
    path.mkdir()
    return False


def gone(path: Path, rng: Any) -> bool:
    path.unlink()
    return False


def a_link(path: Path, rng: Any) -> bool:
    path.unlink()
    path.symlink_to(pick(rng, ["nowhere", "..", path.name, "/etc/passwd", "/dev/null", "/dev/zero", "/proc/self/mem"]))
    return False


def a_pipe(path: Path, rng: Any) -> bool:
    path.unlink()
    os.mkfifo(path)
    return False


def a_socket(path: Path, rng: Any) -> bool:
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # the system's limit on the length of such a name
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    except OSError:  # the name is too long
        os.mkfifo(path.name)
    finally:
        os.chdir(here)
    return False


FILES: list[Damage] = [cut, empty, flip_bytes, noise, zeros, longer, huge, a_folder, gone, a_link, a_pipe, a_socket]


# ---- images -------------------------------------------------------------------------------------------------------


def other_ending(path: Path, rng: Any) -> bool:
    path.rename(path.with_suffix(pick(rng, [".tif", ".png", ".nii.gz", ".npy", ".JPG", "", ".jpeg", ".bmp"])))
    return False


def other_name(path: Path, rng: Any) -> bool:
    names = ["i0", "x\udce4", "a\nb", " ", "i1.", "[i2]", "-", "i3_0000", "n" * 200, "CON", "=1+1", "\x1b[31m", "i0[]"]
    path.rename(path.with_name(pick(rng, names) + path.suffix))
    return False


def other_values(path: Path, rng: Any) -> bool:
    shape = tuple(rng.integers(1, 20, rng.integers(2, 5)))
    dtype = pick(rng, [np.uint8, np.int16, np.uint32, np.float16, np.float64, np.complex64, np.int64])
    with np.errstate(all="ignore"):
        values = (rng.normal(0, 1, shape) * 10.0 ** rng.integers(-3, 60)).astype(dtype)
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), values, photometric="minisblack")
    return False


def bad_numbers(path: Path, rng: Any) -> bool:
    with Image.open(path) as image:
        values = np.array(image.convert("L")).astype(np.float64)
    values[0, 0] = pick(rng, [np.nan, np.inf, -np.inf, 1e300, 1e39, -1e30])
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), values, photometric="minisblack")
    return True


def other_mode(path: Path, rng: Any) -> bool:
    mode = pick(rng, ["1", "P", "RGBA", "LA", "CMYK", "I;16", "F", "YCbCr"])
    picture = Image.new("L", (17, 12), 3).convert("L" if mode == "I;16" else mode)
    path.unlink()
    picture.save(path.with_suffix(".tif"))
    return False


def other_size(path: Path, rng: Any) -> bool:
    height, width = pick(rng, [(1, 1), (12, 1), (1, 17), (17, 12), (13, 17), (3, 5000)])
    Image.new("L", (width, height), 1).save(path)
    return True


def png_bomb(path: Path, rng: Any) -> bool:
    """A few bytes that declare more pixels than any memory holds."""
    width, height = pick(rng, [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (70_000, 70_000), (0, 0), (2**31 - 1, 1)])
    depth, kind = pick(rng, [(8, 0), (1, 0), (8, 2), (8, 3), (8, 6)])
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    if kind == 3:
        chunks.insert(1, (b"PLTE", bytes(6)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks))
    return True


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_text_bomb(path: Path, rng: Any) -> bool:
    """A text chunk that unpacks to much."""
    content = path.read_bytes()
    text = b"note\0\0" + zlib.compress(bytes(80_000_000))
    path.write_bytes(content[:33] + _chunk(b"zTXt", text) + content[33:])
    return False


def tiff_bomb(path: Path, rng: Any) -> bool:
    height, width = pick(rng, [(100_000, 100_000), (2**32 - 1, 2**32 - 1), (2**31, 1), (60_000, 60_000)])
    compression = pick(rng, [1, 8, 5])
    rows = pick(rng, [height, 1, 16])
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, rows), (279, 4, 64)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    strip = zlib.compress(bytes(1000)).ljust(64, b"\0")[:64]
    content = b"II*\0" + struct.pack("<I", 72) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)
    path.unlink()
    path.with_suffix(".tif").write_bytes(content)
    return True


def true_tiff_bomb(path: Path, rng: Any) -> bool:
    """A whole and valid file of zeros, a thousand times as large in memory."""
    path.unlink()
    side = 2**15
    blank = zlib.compress(bytes(side * 1024))
    tifffile.imwrite(
        path.with_suffix(".tif"), iter([blank] * 32), shape=(side, side), dtype=np.uint8, compression="zlib",
        rowsperstrip=1024, photometric="minisblack",
    )  # fmt: skip
    return True


def bmp_bomb(path: Path, rng: Any) -> bool:
    width, height = pick(rng, [(2**31 - 1, 2**31 - 1), (100_000, -100_000), (-5, 5), (0, 0)])
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, pick(rng, [1, 8, 24]), 0, 0, 0, 0, 0, 0)
    path.unlink()
    path.with_suffix(".bmp").write_bytes(b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + header + bytes(100))
    return True


def gif_bomb(path: Path, rng: Any) -> bool:
    screen = struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    block = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"
    path.unlink()
    path.with_suffix(".gif").write_bytes(b"GIF89a" + screen + block)
    return True


IMAGES: list[Damage] = [
    *(other_ending, other_name, other_values, bad_numbers, other_mode, other_size, png_bomb, png_text_bomb, tiff_bomb),
    *(bmp_bomb, gif_bomb),
]


# ---- arrays -------------------------------------------------------------------------------------------------------


def npz_entry(path: Path, rng: Any) -> bool:
    """One array of another shape, type or name."""
    with np.load(path) as content:
        arrays = dict(content)
    key = pick(rng, list(arrays))
    values = arrays[key]
    odd: list[Any] = [np.zeros(()), values[:0], values[..., :0], values[:, :0] if values.ndim > 1 else values[:1]]
    odd += [values.astype(object), values[:1], values.ravel(), np.array(["x"] * len(values)), values[:2].repeat(2, 0)]
    odd += [np.zeros((1, 1, 1, 1, 1)), np.array(b"x"), np.array(np.datetime64("2020")), np.zeros(3, "V9")]
    odd += [np.zeros(len(values), [("a", "f4"), ("b", "i8")]), np.full((3, 0, 0), 1)]
    arrays[key] = pick(rng, odd)
    np.savez(path, **arrays)
    return False


def npz_numbers(path: Path, rng: Any) -> bool:
    with np.load(path) as content:
        arrays = dict(content)
    images = arrays["images"].astype(pick(rng, [np.float32, np.float64]))
    images[0, 0, 0] = pick(rng, [np.nan, np.inf, 1e38])
    np.savez(path, **{**arrays, "images": images})
    return True


def npz_names(path: Path, rng: Any) -> bool:
    with np.load(path) as content:
        arrays = dict(content)
    name = pick(rng, ["../../x", "/etc/x", "", ".", "..", "a/b", "x\0y", "n" * 5000, "\ud800", "\x1b[2J", "a"])
    arrays["names"] = np.array([name, "b", "c"], dtype=pick(rng, [object, None]) if name else None)
    np.savez(path, **arrays)
    return False


def npz_keys(path: Path, rng: Any) -> bool:
    """Members with odd names, twice, or no arrays."""
    content = path.read_bytes()
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(pick(rng, ["../x.npy", "/x.npy", "x.txt", "images", "y\n.npy", "z" * 300]), rng.bytes(40))
    if rng.random() < 0.3:
        path.write_bytes(content[:-30])
    return False


def npz_bomb(path: Path, rng: Any) -> bool:
    """A header that declares more than there is."""
    shape = pick(
        rng, ["(1, 100000, 100000)", "(1000000000, 12, 17)", "(2, 9999999999999999999)", "(-1, 3, 3)", "(3,)" * 9]
    )
    kind = pick(rng, ["|u1", "<f8", "|O", "<U99999999", "<M8[s]"])
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust((len(text) // 64 + 2) * 64 - 11) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for key in ("images", "masks"):
            file.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(1000))
    return True


def npz_header(path: Path, rng: Any) -> bool:
    """A header that is no header."""
    texts = [
        b"{" * 500,
        b"[" * 60000,
        b"()" * 20000,
        b"__import__('os').getcwd()",
        b"9" * 60000,
        b"'x'",
        b"{1: 2}",
        b"\xff",
    ]
    text = pick(rng, texts)
    with zipfile.ZipFile(path, "w") as file:
        for key in ("images", "masks"):
            file.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    return True


NPZ: list[Damage] = [npz_entry, npz_entry, npz_numbers, npz_names, npz_keys, npz_bomb, npz_header]


def other_tensor(path: Path, rng: Any) -> bool:
    values: list[Any] = [
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(2, 0, 5),
        torch.zeros(2, 3, 4, 5),
        {"a": 1},
        "x",
        None,
    ]
    values += [torch.full((12, 17), np.nan), torch.full((12, 17), 1e30), torch.zeros(1).expand(10**6, 10**6)]
    values += [
        torch.zeros(1).expand(2, 100_000, 100_000),
        torch.zeros(3, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
    ]
    values += [torch.zeros(3, requires_grad=True), torch.nn.Linear(2, 2), Path("x"), torch.zeros(4, dtype=torch.bool)]
    torch.save(pick(rng, values), path)
    return True


def tensor_bomb(path: Path, rng: Any) -> bool:
    """A member that unpacks to a thousand times its size."""
    buffer = io.BytesIO()
    torch.save(torch.zeros(12, 17), buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, bytes(300_000_000) if name.endswith("data/0") else old.read(name))
    return False


TENSORS: list[Damage] = [other_tensor, other_tensor, tensor_bomb]
