"""JSON, YAML and CSV that is damaged, or says what nobody expects. Each says whether a refusal is due."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attack import pick

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 255, 256, 1.5, 1e308, -1e308, float("nan"), float("inf"), 10**30, 10**400, 2**63),
    *("", "x", "x" * 100_000, "\n", "\x1b[31mred", "../..", "/etc", "[/]", "[bold]", "\ud800", "=1+1", "unet", "None"),
    *([], {}, [[]], [None], [0], [1e999], [0, 0], [-1, -1], ["x"] * 3, {"a": 1}, {"": ""}, {"0": "x"}, [10**9, 10**9]),
    *(
        [[[[[1]]]]],
        {"a": {"b": {"c": {}}}},
        ["train"],
        {"train": ["i0"]},
        {"train": "i0", "val": None},
        [0.0],
        [1e-300],
    ),
]


def odd_value(path: Path, rng: Any) -> bool:
    """One value of a JSON file, anywhere, is another; or a key is missing, or one too many."""
    content = json.loads(path.read_text())
    table: Any = content
    while True:
        keys: list[Any] = list(table) if isinstance(table, dict) else list(range(len(table)))
        if not keys:
            break
        key = pick(rng, keys)
        inner = table[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            table = inner
            continue
        what = rng.random()
        if what < 0.1:
            del table[key]
        elif what < 0.2 and isinstance(table, dict):
            table[pick(rng, ["unknown", "", "self", "name", "__class__", "x" * 5000])] = table.pop(key)
        else:
            table[key] = pick(rng, ODD_VALUES)
        break
    _write_json(path, content)
    return False


def _write_json(path: Path, content: Any) -> None:
    path.write_bytes(json.dumps(content).encode("utf-8", "surrogatepass"))


def no_table(path: Path, rng: Any) -> bool:
    """What no reader of a table can take, in JSON or in YAML."""
    deep = pick(rng, [1000, 100_000])
    texts: list[bytes] = [b"[", b"{", b"[1, 2]", b"3", b'"x"', b"true", b"\x00\x00", b"[" * deep, b'{"a":' * deep]
    texts += [
        b"[" * deep + b"]" * deep,
        b'{"a":' * deep + b"1" + b"}" * deep,
        b"9" * 5000,
        b'{"format": ' + b"9" * 5000 + b"}",
    ]
    texts += [
        b"\xff\xfe\x00",
        b"{'a': 1}",
        b'{"a": 1',
        b'{"a": 1}}',
        b'{"a" 1}',
        b"- " * deep,
        b"a: b: c",
        b"\t\t: x",
        b"? " * 999,
    ]
    texts += [
        b"%YAML 9.9\n---\na: 1",
        b"--- 1\n--- 2",
        b"!!python/object/apply:os.system ['true']",
        b"&a [*a]",
        b"*a",
        b"a: !x y",
    ]
    texts += [b"x: [" + b"{a: " * deep, _aliases(pick(rng, [9, 30])), _aliases(9, nested=False), b"[" + b"1," * 10**6]
    texts += [
        bytes(rng.integers(0, 256, 300, dtype="uint8")),
        b"\x1b[2J" * 3,
        b"x" * 10**6,
        b"k: " + b"v" * 10**6 + b"\n j",
    ]
    path.write_bytes(pick(rng, texts))
    return True


def _aliases(levels: int, nested: bool = True) -> bytes:
    """YAML of a few hundred bytes that stands for 9 to the power of `levels` values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join([*lines, f"channels: *a{levels - 1}" if nested else "b: 1"]).encode()


def other_encoding(path: Path, rng: Any) -> bool:
    """The same text in another encoding: with a byte-order mark as UTF-8 it is read, else refused."""
    text = path.read_text()
    encoding = pick(rng, ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig"])
    if encoding == "latin-1":
        path.write_bytes(text.replace("e", "\xe9", 1).encode(encoding))
        return True
    path.write_bytes(text.encode(encoding))
    return encoding != "utf-8-sig"


def endless(path: Path, rng: Any) -> bool:
    os.truncate(path, 2**35)
    return True


JSON_DAMAGES = [odd_value, odd_value, odd_value, odd_value, no_table, other_encoding, endless]


def dataset_json(path: Path, rng: Any) -> bool:
    """A `dataset.json` that says odd things of a good data set."""
    value = pick(rng, ODD_VALUES)
    contents: list[Any] = [
        *({"labels": value}, {"channel_names": value}, {"masks": value}, {"labels": {"background": 0, "x": value}}),
        *({"channel_names": {"0": value}}, {"labels": {"background": 0, "x": 1, "y": value}}, value),
        *({"channel_names": {"0": "../../secret", "1": ".."}}, {"channel_names": {"0": "/etc", "1": "/dev"}}),
        *(
            {"channel_names": {"0": "images", "1": "../images"}},
            {"channel_names": {str(n): f"c{n}" for n in range(5000)}},
        ),
        *(
            {"labels": {f"c{n}": n for n in range(70_000)}},
            {"labels": {"a": "#12345"}},
            {"labels": {"a": "#123456", "b": 3}},
        ),
        *({"labels": {"background": 0, "x" * 10**5: 1}}, {"channel_names": {"0": "a\0b", "1": "c"}}),
    ]
    _write_json(path, pick(rng, contents))
    return False


def label_map(path: Path, rng: Any) -> bool:
    texts = [
        b"",
        b"a:1,2",
        b"a:0,0,0\nb:300,0,0",
        b"a:0,0,0\na:1,1,1",
        b"\xff\xfe",
        b"a:" * 10**5,
        b"x" * 10**6,
        b":::\n" * 9,
    ]
    path.write_bytes(
        pick(rng, [*texts, b"a:0,0,0::\n" + b"b:9999999999999999999999,1,1", b"a:0,0,0::\nb:\xd9\xa1,1,1"])
    )
    return False


def yaml_settings(path: Path, rng: Any) -> bool:
    """A file of settings with an odd one."""
    names = [
        "channels",
        "learning_rate",
        "batch_size",
        "crop",
        "augmentation",
        "drops",
        "resize",
        "max_steps",
        "x",
        "schedule",
    ]
    values = [
        "null",
        "-1",
        "0",
        ".nan",
        ".inf",
        "1e309",
        "[]",
        "{}",
        "[0, 0]",
        "yes",
        "2020-01-01",
        "!!binary aGk=",
        "0o17",
    ]
    values += [
        "1_000",
        "1:30:00",
        "~",
        "'x'",
        "9" * 400,
        "[[1, 2], [3]]",
        "{a: {b: c}}",
        "!!set {a, b}",
        "x" * 10_000,
        "1e308",
    ]
    lines = [f"{pick(rng, names)}: {pick(rng, values)}" for _ in range(rng.integers(1, 3))]
    odd = [
        "channels: [4, 4]\nchannels: [8, 8]",
        "? [a, b]\n: 1",
        "1: 2",
        "null: 3",
        "true: 1",
        "? {a: b}\n: 1",
        "[a]: 1",
        "=: 1",
    ]
    path.write_text("\n".join(lines if rng.random() < 0.8 else [pick(rng, odd)]))
    return False


def metrics_csv(path: Path, rng: Any) -> bool:
    texts = [
        b"",
        b"\n",
        b"step\n",
        b"step,minutes\nx,y\n",
        b"\x00" * 50,
        b"step,minutes\n1,2,3,4\n",
        b"minutes\n1\n",
        b"\xff\xfe\n1",
    ]
    texts += [
        b"step,minutes,learning_rate,loss\n1e400,nan,inf,-inf\n",
        b"step\nnan\n",
        b"step\ninf\n",
        b'step,"a\n',
        b"step\n1.5\n",
    ]
    texts += [
        b"step,step\n1,2\n",
        b",,\n1,2,3\n",
        b"step," + b"c," * 20_000 + b"\n1\n",
        b"x" * 300_000,
        b"step,loss\n" + b"9" * 5000,
    ]
    texts += [
        b"step,loss\r1,2\r",
        b"step,val_ged\n5,\n",
        b"step,minutes,val_ged\n-5,-1,-2\n",
        b"step,loss,member\n1,2,x\n",
    ]
    path.write_bytes(pick(rng, texts))
    return False
