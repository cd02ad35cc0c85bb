"""The readers take any bytes: what they do not read they refuse in one line of bounded length."""

from __future__ import annotations

import gzip
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from attack import state
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from plurimask.commands.settings import read_settings
from plurimask.data.images import image_grid, image_shape, read_image, read_stored_mask
from plurimask.data.layouts.dataset_json import read_dataset_file
from plurimask.data.layouts.listing import walk_files
from plurimask.data.layouts.npz import read_arrays
from plurimask.data.layouts.yeast import read_input
from plurimask.errors import LONGEST, InputError, shown
from plurimask.files.reading import MAX_DEPTH, parse_json, read_json, read_yaml
from plurimask.files.writing import table_bytes
from plurimask.runs.record import read_record
from plurimask.training.log import read_metrics

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)
QUICKLY = settings(
    max_examples=int(os.environ.get("PLURIMASK_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def refused(read: Callable[[], Any]) -> str | None:
    """The message of a refusal; None if it was read. Anything but a refusal in one line fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except InputError as error:
        message = str(error)
        assert message.isprintable() and len(message) < LONGEST + 20
        return message
    return None


@QUICKLY
@given(content=PLAIN)
def test_plain_values_are_read_as_they_are(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_json(path, "mend it") == content
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    assert read_json(path, "mend it") == content


@QUICKLY
@given(content=st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"a": 1, "a": 2}')
@example(b"9" * 5000)
@example(b'"\\ud800"')
@example('{"a": 1}'.encode("utf-16"))
@example(b"\xef\xbb\xbf\xef\xbb\xbf1")
def test_any_bytes_as_a_table(tmp_path: Path, content: bytes) -> None:
    for name in ("dataset.json", "run.json", "labelmap.txt", "metrics.csv", "a.yaml"):
        (tmp_path / name).write_bytes(content)
    for read in (read_dataset_file, read_record):
        refused(lambda read=read: read(tmp_path))  # type: ignore[misc]
    refused(lambda: read_metrics(tmp_path / "metrics.csv"))
    refused(lambda: read_settings(tmp_path / "a.yaml"))


@QUICKLY
@given(start=st.sampled_from(["png", "tif", "bmp", "gif", "jpg", "npz", "pt"]), data=st.data())
def test_any_damage_to_an_image(tmp_path: Path, start: str, data: st.DataObject) -> None:
    content = bytearray(_whole(start))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path / f"a.{start}"
    path.write_bytes(bytes(content))
    before = state(tmp_path)
    readers: dict[str, list[Callable[[Path], Any]]] = {"npz": [read_arrays], "pt": [read_input]}
    for read in readers.get(start, [read_image, image_shape, read_stored_mask]):
        refused(lambda read=read: read(path))  # type: ignore[misc]
    assert state(tmp_path) == before


@QUICKLY
@given(kind=st.sampled_from(["nii", "nii.gz", "dcm"]), data=st.data())
def test_any_damage_to_a_volume(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(_volume(kind))
    last = len(content) - 1
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, last) | st.integers(0, min(last, 400)))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path / f"a.{kind}"
    path.write_bytes(bytes(content))
    place = tmp_path if kind == "dcm" else path
    for read in (read_image, image_shape, image_grid, read_stored_mask):
        refused(lambda read=read: read(place))  # type: ignore[misc]


def _volume(kind: str) -> bytes:
    """A file of this kind that is read."""
    if kind == "dcm":
        pydicom = pytest.importorskip("pydicom")
        slices = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
        return next(slices.iterdir()).read_bytes()
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([1.0, 2, 3, 1]))
    plain: bytes = image.to_bytes()
    return gzip.compress(plain, mtime=0) if kind == "nii.gz" else plain


def _whole(kind: str) -> bytes:
    """A file of this kind that is read."""
    stream, values = io.BytesIO(), np.arange(6 * 9, dtype=np.uint8).reshape(6, 9)
    if kind == "npz":
        np.savez_compressed(stream, images=values[None], masks=values[None] % 2)
    elif kind == "pt":
        import torch

        torch.save(torch.from_numpy(values).float(), stream)
    else:
        formats = {"jpg": "JPEG", "tif": "TIFF"}
        Image.fromarray(values).save(stream, formats.get(kind, kind.upper()))
    return stream.getvalue()


def test_yaml_with_aliases_is_refused_before_it_is_built(tmp_path: Path) -> None:
    """302 bytes that stand for 10 to the power of 9 words."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{one}: &{one} [{', '.join([f'*{before}'] * 10)}]" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    message = refused(lambda: read_settings(tmp_path / "a.yaml"))
    assert message is not None and "alias" in message and len(message) < 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "the key 'a' twice"),
        ("a: [" * (MAX_DEPTH + 1), "nested deeper"),
        ("a: 2020-01-01", "type date"),
        ("a: 2020-99-99", "not readable as YAML"),
        (f"a: {'9' * 5000}", "not readable as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("\ta: 1", "line 1"),
    ],
)
def test_yaml_of_what_no_setting_is(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    message = refused(lambda: read_yaml(tmp_path / "a.yaml", "mend it"))
    assert message is not None and said in message and message.endswith("mend it")


@QUICKLY
@given(
    content=st.dictionaries(
        st.text("abc", min_size=1), st.integers() | st.booleans() | st.lists(st.integers()), max_size=4
    )
)
def test_settings_are_read_as_yaml_has_them(tmp_path: Path, content: dict[str, Any]) -> None:
    if all(
        abs(each) < 10**39 for value in content.values() for each in (value if isinstance(value, list) else [value])
    ):
        (tmp_path / "a.yaml").write_text(yaml.safe_dump(content))
        assert read_settings(tmp_path / "a.yaml") == content


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "latin-1")
    (tmp_path / "a.yaml").write_bytes("é: ö".encode())
    assert read_yaml(tmp_path / "a.yaml", "") == {"é": "ö"}
    (tmp_path / "a.yaml").write_bytes("é: ö".encode("latin-1"))
    assert "UTF-8" in str(refused(lambda: read_yaml(tmp_path / "a.yaml", "mend it")))


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a socket"])
def test_only_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "dataset.json"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    else:
        import socket

        with pytest.MonkeyPatch.context() as patch, socket.socket(socket.AF_UNIX) as made:
            patch.chdir(tmp_path)  # such names are short
            made.bind(path.name)
    for read in (lambda: read_dataset_file(tmp_path), lambda: read_image(path), lambda: read_arrays(path)):
        message = refused(read)
        assert message is not None and kind in message


def test_the_members_of_an_npz_are_looked_at_before_they_are_unpacked(tmp_path: Path) -> None:
    """Each declares more than there is: of values, or of what they unpack to."""
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1000000, 100000000), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("images.npy", header)
    message = refused(lambda: read_arrays(tmp_path / "a.npz"))
    assert message is not None and "declares arrays of 100,000,000,000,000 bytes" in message


def test_no_message_repeats_the_advice_to_switch_off_a_safeguard(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{}, {}], dtype=object), masks=np.zeros((2, 3, 4)))
    (tmp_path / "b.npz").write_bytes(b"\x80\x04N.")
    for name in ("a.npz", "b.npz"):
        message = str(refused(lambda name=name: read_arrays(tmp_path / name)))  # type: ignore[misc]
        assert "allow" not in message and "pickle" not in message and "numpy.savez_compressed" in message
    (tmp_path / "a.pt").write_bytes(b"\x80\x02cos\nsystem\nq\x00X\x01\x00\x00\x00aq\x01\x85q\x02Rq\x03.")
    message = str(refused(lambda: read_input(tmp_path / "a.pt")))
    assert "weights_only" not in message and "a.pt" in message


def test_links_that_lead_to_each_other_are_walked_a_bounded_number_of_times(tmp_path: Path) -> None:
    """Two links in each of 40 folders to the next: 2 to the power of 40 ways."""
    for level in range(41):
        (tmp_path / f"f{level}").mkdir()
    for level in range(40):
        for name in "ab":
            (tmp_path / f"f{level}" / name).symlink_to(f"../f{level + 1}")
    assert "ways" in str(refused(lambda: list(walk_files(tmp_path))))
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "root").symlink_to("/")  # holds it
    assert list(walk_files(tmp_path / "g")) == []


@given(name=st.text(min_size=1, max_size=12))
def test_no_text_of_a_table_is_a_formula(name: str) -> None:
    cell = table_bytes([{"name": f"={name}", "score": -1.5}], ["name", "score"]).decode().splitlines()
    assert cell[1].lstrip('"').startswith("'=") and cell[-1].endswith(",-1.5")


@given(value=PLAIN | st.text(min_size=200, max_size=400) | st.integers(10**4000, 10**4001))
def test_values_are_shown_on_part_of_a_line(value: Any) -> None:
    assert len(shown(value)) < 1500
    assert len(str(InputError("x" * 10**6))) < LONGEST + 20


@given(text=st.text(max_size=40) | st.sampled_from(["[/x]", "\x1b[31m", "a\u2028b", "\udce4"]))
def test_messages_are_one_printable_line(text: str) -> None:
    assert str(InputError(f"{text}: no")).isprintable()


def test_long_integers_in_json() -> None:
    assert "digits" in str(refused(lambda: parse_json("9" * 100, "here", "mend it")))
