"""Trained models that the package ships: run folders that are only read, each with a model card and a few examples.

Wherever a run is read, `pretrained:NAME` stands for the model of that name, and wherever images are read, for its
examples. Models are made by `benchmarks/pretrained.py`.
"""

from __future__ import annotations

from pathlib import Path

from plurimask.errors import InputError, unknown_name

PREFIX = "pretrained:"
"""Before the name of a model."""
EXAMPLES = "examples"
"""Beside a model: a data set of one split, `val/images/NAME.png` and `val/masks/RATER/NAME.png`."""

_HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Of the models that there are."""
    return tuple(sorted(path.parent.name for path in _HERE.glob("*/run.json")))


def is_pretrained(path: Path | str) -> bool:
    """Whether what was given for a folder names a model of the package."""
    return str(path).startswith(PREFIX)


def folder_of(run: Path | str) -> Path:
    """The folder of a run: that of the model if `run` is `pretrained:NAME`, else `run` itself.

    Raises:
        InputError: there is no model of that name; the error lists those that there are.
    """
    if not is_pretrained(run):
        return Path(run)
    name = str(run).removeprefix(PREFIX)
    if name not in names():
        raise unknown_name("pretrained model", name, names())
    return _HERE / name


def data_of(path: Path | str) -> Path:
    """Where a data set lies: the examples of the model if `path` is `pretrained:NAME`, else `path` itself.

    Raises:
        InputError: there is no model of that name.
    """
    return folder_of(path) / EXAMPLES if is_pretrained(path) else Path(path)


def images_of(path: Path | str) -> Path:
    """Where images lie: those of the examples if `path` is `pretrained:NAME`, else `path` itself; errors as above."""
    return data_of(path) / "val" / "images" if is_pretrained(path) else Path(path)


def example_images(run: Path) -> tuple[Path, ...]:
    """The images beside a model, by name; none beside a run that was trained by oneself."""
    return tuple(sorted((run / EXAMPLES).glob("val/images/*.png")))


def refuse_shipped(out: Path) -> None:
    """Raise `InputError` if a run is to be written in the place of a model of the package."""
    if is_pretrained(out) or _HERE in (out.absolute(), *out.absolute().parents):
        raise InputError(f"{out}: models that the package ships are only read: give another folder")
