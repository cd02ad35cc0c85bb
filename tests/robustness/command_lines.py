"""Command lines with impossible values, taken from the options that the commands declare themselves."""

from __future__ import annotations

import os
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from attack import pick
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plurimask.commands.check import CheckOptions
from plurimask.commands.combine import CombineOptions
from plurimask.commands.compare import CompareOptions
from plurimask.commands.demo import DemoOptions
from plurimask.commands.evaluate import EvaluateOptions
from plurimask.commands.figures import FiguresOptions
from plurimask.commands.import_files import ImportOptions
from plurimask.commands.predict import PredictOptions
from plurimask.commands.report import ReportOptions
from plurimask.commands.train import TrainOptions
from plurimask.methods import METHODS
from plurimask.training.config import TrainingConfig

OPTIONS: dict[str, type[BaseModel]] = {
    "check": CheckOptions,
    "train": TrainOptions,
    "evaluate": EvaluateOptions,
    "predict": PredictOptions,
    "combine": CombineOptions,
    "report": ReportOptions,
    "figures": FiguresOptions,
    "compare": CompareOptions,
    "import": ImportOptions,
    "demo": DemoOptions,
}
_LEFT_OUT = {"devices", "nodes", "num_workers", "max_steps", "max_minutes", "minutes", "plan", "resume", "overwrite"}
"""What starts processes, or means a long training that somebody may want."""
NO_NUMBERS = [
    "x",
    "",
    " ",
    "1,5",
    "--",
    "nan",
    "0x10",
    "1e",
    "\x00",
    "1\n2",
    "None None",
    "1_0_",
    "\u0663",
    "=",
    "9" * 5000,
]
NUMBERS = [
    "0",
    "-1",
    "1e308",
    "1e400",
    "inf",
    "-inf",
    "-0.0",
    "1.5",
    "1000000",
    "1000000000000",
    "1" + "0" * 40,
    "1e-320",
    "2",
]
TEXTS = [
    "",
    "x",
    "\x00",
    "a" * 100_000,
    "..",
    "(",
    "[",
    "(a+)+$",
    "\ud800",
    "[/x]",
    "*",
    "**",
    "%s%n",
    "=1",
    "None",
    "\x1b[31m",
]


def line(command: str, base: list[str], rng: Any, method: str = "unet") -> tuple[list[str], bool]:
    """`base` with one option more, or given twice, whose value is impossible or absurd."""
    fields: dict[str, FieldInfo] = dict(OPTIONS[command].model_fields)
    if command in ("train", "compare"):
        fields |= TrainingConfig.model_fields
    if command == "train":
        fields |= METHODS[method].Config.model_fields
    name = pick(rng, sorted(set(fields) - _LEFT_OUT - {"run", "data", "images", "runs", "tree", "image_channels"}))
    kind = fields[name].annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        inner = pick(rng, sorted(kind.model_fields))
        name, kind = f"{name}.{inner}", kind.model_fields[inner].annotation
    if NoneType in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    parts = get_args(kind) if get_origin(kind) is tuple else (kind,)
    is_number = parts[0] in (int, float)
    words = NO_NUMBERS + NUMBERS * 3 if is_number or parts[0] not in (str, Path) else TEXTS
    count = pick(rng, [1, 1, len([part for part in parts if part is not Ellipsis]), 0, 3])
    values = [pick(rng, words) for _ in range(count)]
    impossible = is_number and count == 1 == len(parts) and values[0] in {*NO_NUMBERS} - {"\u0663", "1_0_"}
    return [*base, f"--{name.replace('_', '-')}", *values], impossible


def odd_words(base: list[str], rng: Any) -> tuple[list[str], bool]:
    """Words that belong nowhere, are missing, or in another order."""
    words = list(base)
    what = int(rng.integers(6))
    if what == 0:
        words.insert(
            int(rng.integers(1, len(words) + 1)),
            pick(rng, ["--unknown", "--unknwon=3", "--", "-x", "---", "--=", "--out"]),
        )
    elif what == 1:
        del words[int(rng.integers(1, len(words)))]
    elif what == 2:
        words[0] = pick(rng, ["", "TRAIN", "trian", "-", "--", "os", "../x", "\x00", "main", "x" * 10_000])
    elif what == 3:
        return [*words, *["x"] * int(rng.integers(1, 2000))], False
    elif what == 4:
        words[1:] = [words[index] for index in 1 + rng.permutation(len(words) - 1)]
    else:
        place = int(rng.integers(1, len(words)))
        words[place] = pick(rng, TEXTS)
    return words, what == 2


def odd_path(folder: Path, rng: Any) -> str:
    """A path at which nothing can be read or written as it should."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text("x")
    (folder / "empty").mkdir(exist_ok=True)
    for name in ("pipe", "p.json", "p.html", "p.npz"):
        if not (folder / name).exists():
            os.mkfifo(folder / name)
    if not (folder / "loop").is_symlink():
        (folder / "loop").symlink_to("loop")
    inside = [
        "file",
        "file/below",
        "empty",
        "pipe",
        "loop",
        "loop/x",
        "nowhere",
        "n" * 300,
        "file/x.json",
        "p.json",
        "p.html",
    ]
    paths = [str(folder / name) for name in inside] + [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/stdin",
        "/proc/self",
    ]
    return str(
        pick(
            rng, [*paths, "", "\x00", "/proc/nowhere/x", "/dev/null/x.json", "~", "p.npz", "/" + "d/" * 3000, "\ud800"]
        )
    )
