"""Words to values: every kind of option, what is given and what is not, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from plurimask.commands.parsing import POSITIONAL, Data, Flips, Group, Options, parse, peek, read
from plurimask.errors import InputError
from plurimask.methods.unet import UNetConfig
from plurimask.training.config import TrainingConfig


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    angle: float = Field(15.0, ge=0, le=180, description="degrees, 100 % of them")
    scale: tuple[float, float] = (0.9, 1.1)


class Everything(Options):
    """A test
    of all."""

    data: Data
    more: Annotated[tuple[Path, ...], POSITIONAL] = ()
    out: Path = Field(description="where")
    go_on: bool = Field(False, description="go on")
    tidy: bool = True
    maybe: bool | None = None
    count: int | None = Field(7, ge=1, description="how many")
    size: tuple[int, int] | None = Field(None, description="height and width")
    drops: tuple[tuple[float, float], ...] = ()
    kind: Literal["one", "two"] = "one"
    flips: Flips = None
    tables: dict[str, Any] = {}


class More(BaseModel):
    widths: tuple[PositiveInt, ...] = (16, 32)
    inner: Inner = Inner()


def given(words: str) -> dict[str, Any]:
    return read(Everything, [Group("more", More.model_fields)], words.split(), "test")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        ("--count 3", {"count": 3}),
        ("--count=3 --count 4", {"count": 4}),
        ("--count None", {"count": None}),
        ("--go-on --no-tidy", {"go_on": True, "tidy": False}),
        ("--go_on --tidy", {"go_on": True, "tidy": True}),
        ("--maybe True", {"maybe": True}),
        ("--widths 4 5 6", {"widths": (4, 5, 6)}),
        ("--widths", {"widths": ()}),
        ("--size 256 512", {"size": (256, 512)}),
        ("--out=-y --flips=--z", {"out": Path("-y"), "flips": ("--z",)}),
        ("--inner.scale -1e-3 -.5", {"inner": {"scale": (-0.001, -0.5)}}),
        ("--drops 0.5 0.1 0.75 0.01", {"drops": ((0.5, 0.1), (0.75, 0.01))}),
        ("--kind two", {"kind": "two"}),
        ("--flips Car=1/2 Road=0.25", {"flips": ("Car=1/2", "Road=0.25")}),
        ("--inner.angle 3e1", {"inner": {"angle": 30.0}}),
        ("--inner.scale -0.5 1 --inner.angle 2", {"inner": {"scale": (-0.5, 1.0), "angle": 2.0}}),
    ],
)
def test_only_what_is_given_is_returned(words: str, expected: dict[str, Any]) -> None:
    assert given(f"d --out x {words}") == {"data": Path("d"), "out": Path("x"), **expected}


@pytest.mark.parametrize("words", ["d --out x --size 2 3", "--out x --size 2 3 d", "--size 2 3 d --out x"])
def test_places_may_be_anywhere(words: str) -> None:
    assert given(words) == {"data": Path("d"), "out": Path("x"), "size": (2, 3)}
    assert given(f"{words} e f")["more"] == (Path("e"), Path("f"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "DATA is missing"),
        ("d", "--out is missing"),
        ("d --out", "--out: expected one argument (see plurimask test --help)"),
        ("d --out --go-on", "--out: expected one argument (see plurimask test --help)"),
        ("d --out x --coun 3", "'--coun': did you mean --count"),
        ("d --out x --no-count 3", "unknown option of plurimask test '--no-count'"),
        ("d --out x --tables 3", "unknown option of plurimask test '--tables'"),
        ("d --out x --count 0", "--count 0: Input should be greater than or equal to 1"),
        ("d --out x --count 2.5", "--count 2.5: Input should be a valid integer"),
        ("d --out x --kind three", "--kind three: Input should be 'one' or 'two'"),
        ("d --out x --widths 4 -5", "--widths 4 -5: Input should be greater than 0"),
        ("d --out x --size 2", "--size: expected 2 arguments"),
        ("d --out x --size None", "--size: expected 2 arguments"),
        ("--out x --widths 4 /", "--widths 4 /: Input should be a valid integer, unable to parse"),
        ("--out x --widths 4 /", "(--widths takes all words up to the next option)"),
        ("d --out x --drops 0.5 y" + "z" * 300, "unable to parse string as a number"),
        ("d --out x --drops 0.5 0.1 0.75", "--drops 0.5 0.1 0.75: a value is missing"),
        ("d --out x --inner.angle 200", "--inner.angle 200: Input should be less than or equal to 180"),
    ],
)
def test_mistakes_say_what_came_and_what_is_expected(words: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        given(words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Plain(Options):
    count: int = 7


def test_a_word_too_many_belongs_to_no_option() -> None:
    assert parse(Plain, [], "test").count == 7
    with pytest.raises(InputError, match="8: belongs to no option"):
        parse(Plain, ["--count", "7", "8"], "test")


def test_a_first_look_passes_over_what_it_does_not_know() -> None:
    fields = {"out": Everything.model_fields["out"], "go_on": Everything.model_fields["go_on"]}
    words = ["d", "--channels", "3", "4", "--out", "x", "--else", "--go-on", "y"]
    assert peek(fields, words, "test") == {"out": Path("x"), "go_on": True}


def test_the_help_shows_words_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    defaults = {"widths": (5, 6, 7), "inner": Inner(angle=3.0)}
    with pytest.raises(SystemExit) as exit_:
        read(Everything, [Group("more", More.model_fields, defaults)], ["d", "-h"], "test")
    assert exit_.value.code == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "usage: plurimask test DATA [MORE ...] --out PATH [options]"
    for line in (
        "DATA folder of images and masks, or .npz, or",
        "MORE ...",
        "--go-on go on",
        "--tidy, --no-tidy",
        "--count INT how many (default: 7)",
        "--widths [INT ...] (default: 5 6 7)",
        "--size INT INT height and width (default: None)",
        "--drops [FLOAT FLOAT ...] (default: none)",
        "--kind one|two (default: one)",
        "--inner.angle FLOAT degrees, 100 % of them (default: 3.0)",
        "--inner.scale FLOAT FLOAT (default: 0.9 1.1)",
    ):
        assert line in lines
    assert lines[2] == "A test of all."
    assert lines.index("options:") < lines.index("more:") < lines.index("inner:")


def test_a_side_or_three_of_them_and_rows_of_numbers() -> None:
    fields = [Group("t", TrainingConfig.model_fields), Group("u", {"strides": UNetConfig.model_fields["strides"]})]

    def value(*words: str) -> Any:
        name = words[0].removeprefix("--")
        return read(Options, fields, words, "train")[name]

    assert value("--crop", "96") == 96
    assert value("--crop", "8", "64", "64") == (8, 64, 64)
    assert value("--spacing", "median") == "median"
    assert value("--spacing", "2.5", "0.7", "0.7") == (2.5, 0.7, 0.7)
    assert value("--strides", "1,2,2", "2,2,2") == ((1, 2, 2), (2, 2, 2))
    for words, reason in (
        (("--crop", "8", "64"), "expected one value, or 3: .*this side, or of volumes of this depth, height and width"),
        (("--crop", "4"), "greater than or equal to 8"),
        (("--spacing", "fine"), "median"),
    ):
        with pytest.raises(InputError, match=reason):
            value(*words)
