"""Fuzzing of the readers: bytes are changed at random, guided by coverage where atheris is installed.

python tests/robustness/fuzz_readers.py CORPUS [--seconds 60] [--reader tiff]

CORPUS is a folder of files to begin from, one folder for each reader (`json/`, `png/`, ...); it is made where there
is none. What a reader neither reads nor refuses in one line is written to `CORPUS/READER-crash` and ends it with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image

from plurimask.commands.settings import read_settings
from plurimask.data.images import read_image, read_stored_mask
from plurimask.data.images.pixel_size import read_pixel_size
from plurimask.data.layouts.dataset_json import read_dataset_file
from plurimask.data.layouts.npz import read_arrays
from plurimask.data.layouts.yeast import read_input
from plurimask.errors import InputError
from plurimask.runs.record import read_record
from plurimask.training.log import read_metrics

SECONDS_EACH = 10
"""What takes longer counts as hung."""
WORDS = [
    b"[" * 50,
    b"{",
    b"}",
    b"9" * 50,
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"*a",
    b"&a ",
    b'"',
    b"\xef\xbb\xbf",
    b"nan",
    b"-1",
]


def _tiff(path: Path) -> None:
    read_image(path)
    read_pixel_size(path)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "json": ("dataset.json", lambda path: read_dataset_file(path.parent)),
    "record": ("run.json", lambda path: read_record(path.parent)),
    "yaml": ("a.yaml", read_settings),
    "csv": ("metrics.csv", read_metrics),
    "labelmap": ("labelmap.txt", lambda path: read_dataset_file(path.parent)),
    "png": ("a.png", read_image),
    "mask": ("a.png", read_stored_mask),
    "tiff": ("a.tif", _tiff),
    "gif": ("a.gif", read_image),
    "bmp": ("a.bmp", read_image),
    "jpeg": ("a.jpg", read_image),
    "nifti": ("a.nii", read_image),
    "nifti-mask": ("a.nii.gz", read_stored_mask),
    "dicom": ("a.dcm", lambda path: read_image(path.parent)),
    "npz": ("a.npz", read_arrays),
    "pt": ("a.pt", read_input),
}
"""By name: what the file is called, and what reads it."""


def first_files(reader: str) -> list[bytes]:
    """Small files that are read."""
    values = np.arange(54, dtype=np.uint8).reshape(6, 9)
    texts = {
        "json": [
            '{"channel_names": {"0": "x"}, "labels": {"background": 0, "cell": 1, "ignore": 255}, "masks": "values"}'
        ],
        "record": [
            json.dumps({"format": 1, "method": "unet", "preset": "small", "config": {}, "split": None, "seed": 0})
        ],
        "yaml": ["channels: [4, 4]\nlearning_rate: 1e-3\naugmentation: {rotation: 3}\n"],
        "csv": ["step,minutes,loss\n10,0.5,1.25\n20,1.0,\n"],
        "labelmap": ["# label:color_rgb:parts:actions\nbackground:0,0,0::\ncell:170,0,51::\n"],
    }
    if reader in texts:
        return [text.encode() for text in texts[reader]]
    stream = io.BytesIO()
    if reader == "npz":
        np.savez_compressed(stream, images=values[None], masks=values[None] % 2, names=np.array(["a"]))
    elif reader.startswith("nifti"):
        import nibabel

        image = nibabel.Nifti1Image(values[..., None], np.diag([1.0, 2.0, 3.0, 1.0]))
        return [gzip.compress(image.to_bytes(), mtime=0) if reader == "nifti-mask" else image.to_bytes()]
    elif reader == "dicom":
        import pydicom

        folder = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
        return [path.read_bytes() for path in sorted(folder.iterdir())]
    elif reader == "pt":
        torch.save(torch.from_numpy(values).float(), stream)
    else:
        Image.fromarray(values).save(stream, {"mask": "PNG"}.get(reader, reader.upper()))
    return [stream.getvalue()]


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """A copy with some bytes flipped, removed, repeated, or words put in."""
    made = bytearray(content or b"\0")
    for _ in range(int(rng.integers(1, 6))):
        place, what = int(rng.integers(len(made) + 1)), int(rng.integers(5))
        if what == 0 and place < len(made):
            made[place] = int(rng.integers(256))
        elif what == 1:
            del made[place : place + int(rng.integers(1, 9))]
        elif what == 2:
            made[place:place] = WORDS[int(rng.integers(len(WORDS)))]
        elif what == 3:
            made[place:place] = made[place : place + int(rng.integers(1, 64))]
        elif place < len(made):
            made[place] ^= 1 << int(rng.integers(8))
    return bytes(made)


def attempt(reader: str, content: bytes, folder: Path) -> None:
    """Let a reader have these bytes: whatever it raises but a refusal goes on."""
    name, read = READERS[reader]
    path = folder / name
    path.write_bytes(content)
    with contextlib.suppress(InputError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except InputError as error:
            assert str(error).isprintable() and len(str(error)) < 2100, str(error)[:3000]
            raise


def by_chance(reader: str, corpus: Path, seconds: float, seed: int) -> int:
    """Random changes for so many seconds; the number of attempts."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    rng, number = np.random.default_rng(seed), 0
    known = [path.read_bytes() for path in sorted((corpus / reader).iterdir())]
    with tempfile.TemporaryDirectory() as name:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            content = changed(known[int(rng.integers(len(known)))], rng)
            signal.alarm(SECONDS_EACH)
            try:
                attempt(reader, content, Path(name))
            except BaseException:
                (corpus / f"{reader}-crash").write_bytes(content)
                raise
            finally:
                signal.alarm(0)
            number += 1
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="for each reader, without atheris")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=READERS, help="this one alone; with atheris, which takes one, needed")
    parser.add_argument("--atheris", action="store_true", help="guided by coverage (pip install atheris)")
    options = parser.parse_args()
    for reader in READERS:
        (options.corpus / reader).mkdir(parents=True, exist_ok=True)
        if not any((options.corpus / reader).iterdir()):
            for number, content in enumerate(first_files(reader)):
                (options.corpus / reader / f"{number}").write_bytes(content)
    if options.atheris:
        import atheris

        folder, reader = Path(tempfile.mkdtemp()), options.reader or parser.error("--atheris needs --reader")
        atheris.instrument_all()
        arguments = [
            sys.argv[0],
            str(options.corpus / reader),
            f"-timeout={SECONDS_EACH}",
            f"-max_total_time={options.seconds:g}",
        ]
        atheris.Setup(arguments, lambda content: attempt(reader, content, folder))
        atheris.Fuzz()
    for reader in [options.reader] if options.reader else READERS:
        print(f"{reader}: {by_chance(reader, options.corpus, options.seconds, options.seed)} attempts", flush=True)


if __name__ == "__main__":
    main()
