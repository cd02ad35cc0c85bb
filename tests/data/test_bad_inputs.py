"""Generated bad inputs: each is read as it is or refused in one line, and nothing on disk changes.

`PLURIMASK_BAD_INPUTS` sets their number.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from data_trees import gray, mask, save, write_json
from PIL import Image

from plurimask.data import open_data, open_images
from plurimask.errors import InputError
from plurimask.evaluation.check import check_data

NUMBER = int(os.environ.get("PLURIMASK_BAD_INPUTS", "60"))
Random = np.random.Generator


def plain(folder: Path, rng: Random) -> None:
    """A small data set in one of several layouts and formats."""
    ending = rng.choice(["png", "tif", "bmp", "gif"])
    splits = ["train/", "val/"] if rng.random() < 0.6 else [""]
    for split in splits:
        for number in range(4):
            save(folder / f"{split}images" / f"i{number}.{ending}", gray(number, 12, 17))
            for rater in ("anna", "ben"):
                save(folder / f"{split}masks" / rater / f"i{number}.png", mask(0, 1, 1, height=12, width=17))
    if rng.random() < 0.3:
        write_json(folder, labels={"background": 0, "cell": 1})


def cut(path: Path, rng: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(0, len(content))])


def flip_bytes(path: Path, rng: Random) -> None:
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, len(content), 4):
        content[place] = rng.integers(256)
    path.write_bytes(bytes(content))


def noise(path: Path, rng: Random) -> None:
    path.write_bytes(path.read_bytes()[:8] + rng.bytes(200))


def other_ending(path: Path, rng: Random) -> None:
    path.rename(path.with_suffix(str(rng.choice([".tif", ".png", ".nii.gz", ".npy", ".JPG", ""]))))


def other_name(path: Path, rng: Random) -> None:
    names = ["i0", "x\udce4", "a\nb", " ", "i1.", "[i2]", "-", "i3_0000", "n" * 200, "CON"]
    path.rename(path.with_name(str(rng.choice(names)) + path.suffix))


def other_values(path: Path, rng: Random) -> None:
    shape = tuple(rng.integers(1, 20, rng.integers(2, 5)))
    dtype = rng.choice([np.uint8, np.int16, np.uint32, np.float16, np.float64, np.complex64, np.int64])
    with np.errstate(all="ignore"):
        values = (rng.normal(0, 1, shape) * 10.0 ** rng.integers(-3, 60)).astype(dtype)
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), values, photometric="minisblack")


def other_mode(path: Path, rng: Random) -> None:
    mode = str(rng.choice(["1", "P", "RGBA", "LA", "CMYK", "I;16", "F", "YCbCr"]))
    picture = Image.new("L", (17, 12), 3).convert("L" if mode == "I;16" else mode)
    path.unlink()
    picture.save(path.with_suffix(".tif"))


def a_folder(path: Path, rng: Random) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path, rng: Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice(["nowhere", "..", path.name]))


def gone(path: Path, rng: Random) -> None:
    path.unlink()


def json_beside(path: Path, rng: Random) -> None:
    top = path.parents[len(path.parts) - path.parts.index("data") - 2]
    contents = [
        '{"labels": []}',
        '{"labels": {"a": "#12345"}}',
        '{"masks": 3}',
        "[",
        '{"channel_names": {"0": "x"}}',
        "\udce4",
    ]
    (top / "dataset.json").write_bytes(str(rng.choice(contents)).encode("utf-8", "surrogateescape"))


def table_beside(path: Path, rng: Random) -> None:
    top = path.parents[len(path.parts) - path.parts.index("data") - 2]
    (top / "labelmap.txt").write_text(str(rng.choice(["", "a:1,2", "a:0,0,0\nb:300,0,0", "a:0,0,0\na:1,1,1"])))


DAMAGES: list[Callable[[Path, Random], None]] = [
    cut,
    flip_bytes,
    noise,
    other_ending,
    other_name,
    other_values,
    other_mode,
    a_folder,
    a_link,
    gone,
    json_beside,
    table_beside,
]


def state(folder: Path) -> str:
    """A hash of all names, links and contents."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(os.fsencode(path))
        if path.is_file() and not path.is_symlink():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(NUMBER))
def test_a_bad_input_is_read_or_refused_in_one_line(tmp_path: Path, seed: int) -> None:
    rng, data = np.random.default_rng(seed), tmp_path / "data"
    plain(data, rng)
    for _ in range(rng.integers(1, 4)):
        files = sorted(path for path in data.rglob("*") if path.is_file() and path.name != "dataset.json")
        if not files:
            break
        DAMAGES[rng.integers(len(DAMAGES))](files[rng.integers(len(files))], rng)
    before = state(data)
    images = next((path for path in (data / "images", data / "train" / "images") if path.is_dir()), data)
    for read in (
        lambda: check_data(open_data(data)).lines(),
        lambda: [image.shape for image in open_images(images, ["intensity"])],
    ):
        try:
            read()
        except InputError as error:
            assert len(str(error).splitlines()) == 1, str(error)
    assert state(data) == before
    shutil.rmtree(data)
